"""A split of a task from its files or from the hub: rows of the form's columns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lm.labelled.examples import Example, Notes, make_example
from lm.labelled.fields import Fields
from lm.labelled.forms import AnyForm
from lm.labelled.read_config import ReadConfig
from lm.labelled.records import Record, read_records
from lm.labelled.streams import BadInput
from lm.stop import ShouldStop, check, never

ERRORS_SHOWN = 5
TELL_EVERY = 2_000


class Read(NamedTuple):
    """The examples of a split and what reading them met."""

    examples: list[Example]
    records: int
    notes: Notes


def read_files(paths: Sequence[Path], targets: Sequence[Path], config: ReadConfig) -> Iterator[Record]:
    """The records of several files, one after the other."""
    if targets and len(targets) != len(paths):
        raise BadInput(f"{len(paths)} files and {len(targets)} targets: one for each is needed")
    for number, path in enumerate(paths):
        yield from read_records(path, config, targets[number] if targets else None)


def read_examples(
    form: AnyForm,
    records: Iterable[Record],
    config: ReadConfig,
    split: str,
    progress: Callable[[int], None] = lambda n: None,
    should_stop: ShouldStop = never,
) -> Read:
    """Make examples of records. Without a field `id`, an example is named by its split and number: `train:17`.

    Raises BadInput with the first few records that cannot be used, or for an id that comes twice; Interrupted.
    """
    notes, examples, errors = Notes(), [], []
    ids: dict[str, str] = {}
    number = 0
    for number, record in enumerate(records, 1):
        if record.left_out is not None:
            notes.add(record.left_out, record.short)
            continue
        fields = Fields(record, config)
        try:
            example = make_example(form, fields, notes)
            name = _id(fields) if "id" in config.fields else f"{split}:{number}"
        except BadInput as error:
            errors.append(str(error))
            if len(errors) == ERRORS_SHOWN:
                break
            continue
        if name in ids:
            raise BadInput(
                f"{record.where}: id {name!r} is that of {ids[name]} as well; take `id` out of read.fields, and"
                " examples are numbered"
            )
        ids[name] = record.where
        if example is not None:
            examples.append({"id": name, **example})
        if number % TELL_EVERY == 0:
            progress(TELL_EVERY)
            check(should_stop, f"reading {split}")
    if errors:
        raise BadInput("\n".join(errors))
    return Read(examples, number, notes)


def _id(fields: Fields) -> str:
    value = fields.value("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise fields.bad("id", f"{value!r} is no name; take `id` out of read.fields, and examples are numbered")
    return str(value)
