"""What an HTML page would cost its parser, bounded before it is parsed.

The HTML parsing algorithm (WHATWG, 13.2) has two ways to blow up. Elements can nest without limit, and main-content
heuristics walk up the tree from every node. And formatting elements that were never closed (`<font><font>...`) are
opened again inside every later block, so that a few kilobytes become millions of nodes.
"""

import numpy as np

from data_quality.compiled import kernel

MAX_NODES = 2_000_000
"""Elements that a page may become: some 300 MB in the parser."""

MAX_WORK = 20_000_000
"""Steps up the tree and through attributes: some seconds."""

# Never open, or closed by what follows when they have no end tag of their own: they add no depth that is not counted
# by the element around them.
_UNCOUNTED = (
    "area base br col embed hr img input link meta source track wbr param "
    "html head body p li dt dd tr td th thead tbody tfoot option optgroup colgroup rb rt rp a"
)
_FORMATTING = "b big code em font i nobr s small strike strong tt u"
_MASK = (1 << 61) - 1


def _hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value * 131 + byte) & _MASK
    return value


_SVG_PLACE = _hash("svg") & 4095
_UNCOUNTED_HASHES = np.array(sorted(map(_hash, _UNCOUNTED.split())), np.int64)
_FORMATTING_HASHES = np.array(sorted(map(_hash, _FORMATTING.split())), np.int64)


@kernel
def _measure(data, uncounted, formatting):  # type: ignore[no-untyped-def]
    """(deepest nesting, elements after formatting elements were opened again, work)."""
    open_now = np.zeros(1 << 12, np.int64)  # by name; names that share a place are counted together
    depth = deepest = nodes = formatting_open = work = 0
    i = 0
    while i < data.size - 1:
        if data[i] != 60:  # <
            i += 1
            continue
        i += 1
        closing = data[i] == 47  # /
        i += closing
        value = 0
        start = i
        while i < data.size:
            byte = np.int64(data[i])
            if 65 <= byte <= 90:
                byte += 32
            if not (97 <= byte <= 122 or (i > start and (48 <= byte <= 57 or byte == 45))):
                break
            value = (value * 131 + byte) & _MASK
            i += 1
        if i == start:
            continue
        found = np.searchsorted(uncounted, value)
        counted = not (found < uncounted.size and uncounted[found] == value)
        found = np.searchsorted(formatting, value)
        is_formatting = found < formatting.size and formatting[found] == value
        place = value & 4095
        attributes = 0
        before = 32
        while i < data.size and data[i] != 62:  # to the > that ends the tag
            byte = data[i]
            if (byte == 34 or byte == 39) and before == 61:  # a quoted value after =
                i += 1
                while i < data.size and data[i] != byte:
                    i += 1
                byte = 32
            elif byte <= 32 or byte == 47:
                byte = 61 if before == 61 else 32
            else:
                attributes += before == 32
            before = byte
            i += 1
        work += attributes * attributes // 100  # each is looked for among those before it
        if not closing:
            nodes += 1 + formatting_open
            work += depth
            # `/>` ends an element inside a drawing, and nowhere else.
            if counted and not (i < data.size and data[i - 1] == 47 and open_now[_SVG_PLACE] > 0):
                open_now[place] += 1
                depth += 1
                formatting_open += is_formatting
                deepest = max(deepest, depth)
        elif counted and open_now[place] > 0:
            open_now[place] -= 1
            depth -= 1
            formatting_open -= is_formatting
    return deepest, nodes, work


def measure_html(html: bytes) -> tuple[int, int, int]:
    """(nesting depth, elements, work) that a page has at most, about; one pass at some hundred MB a second.

    Work is the sum over elements of their depth, and over tags of a hundredth of their attributes squared.
    """
    deepest, nodes, work = _measure(np.frombuffer(html, np.uint8), _UNCOUNTED_HASHES, _FORMATTING_HASHES)
    return int(deepest), int(nodes), int(work)
