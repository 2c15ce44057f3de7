"""YAML as plain values, within limits: no tag makes an object, and no alias unfolds to a billion."""

from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"
LARGEST = 1_000_000  # values, those of aliases counted wherever they stand
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def load_yaml(text: str) -> Any:
    """The values that a text of YAML holds.

    Raises:
        yaml.YAMLError: it holds none, a key that stands twice in one place, of which the library would take the last
            without a word, or it is beyond the limits.
    """
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _unfolded(node, {}) > LARGEST:
            raise yaml.YAMLError(f"aliases that unfold to more than {LARGEST:,} values")
        _require_keys_once(node, loader)
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("nested too deep") from None
    except ValueError as error:  # of a date that there is not
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def _unfolded(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node is, once every alias in it stands for itself."""
    if id(node) not in known:
        known[id(node)] = LARGEST + 1  # of a node inside itself
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = inner if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in parts)
    return known[id(node)]


def _require_keys_once(root: yaml.Node, loader: Any) -> None:
    """Keys are what they stand for: 1 and '1' are two, 1 and 0x1 are one; `<<` may stand more than once."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            waiting += node.value
            continue
        first: dict[Any, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                line, meant = key.start_mark.line + 1, loader.construct_object(key)
                if meant in first:
                    raise yaml.YAMLError(f"line {line}: {key.value!r} stands there already, in line {first[meant]}")
                first[meant] = line
            waiting += [key, value]
