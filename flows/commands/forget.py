"""`textmill forget`: mark documents, say what was made of them, retire it. No server is needed to mark.

textmill forget ID...        from now on no flow reads the document; what was made of it is listed
textmill run CONFIG          the refresh: corpus, tokenizer and models anew without it
textmill forget --retire     names are taken from what was made of it, and MLflow is told
textmill gc --delete         takes it
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_quality.forgotten import Forgotten
from flows.commands.trace import described_groups, grouped
from flows.servers import services
from tasks.lineage.descent import Derived, Descent, Ids, registered_as
from tasks.lineage.forgotten import Request, ask, note, noted_for, requests, standing, withdraw
from tasks.lineage.twins import near_twins
from tasks.running.journal import Journal
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, pipeline_run
from tasks.storage.exports import exports_of
from tasks.storage.shared import open_store
from tasks.store import Store, StoreError

SHOWN = 20


def forget(ids: Sequence[str], sources: Sequence[str], why: str, *, with_twins: bool, unseen: bool) -> dict[str, Any]:
    """Mark documents: written down first, then looked at.

    Args:
        ids: whole ids, as their sources or as the store writes them; `source:path` means all documents of a file.
        sources: names of sources, all of whose documents are meant.
        with_twins: mark near-twins, too.
        unseen: mark what this store has never read as well.

    Returns:
        `request`, `documents` (how many this store holds), `twins` (those that are not marked, with the document that
        they are like and their Jaccard similarity), and what was made of them by kind as `flows.commands.trace.grouped`
        says.

    Raises:
        StoreError: nothing is named, or something that was never read; nothing is marked then.
        UsageError: an id holds personal data, which was hashed with another key than that in the environment.
    """
    store = open_store()
    if not ids and not sources:
        raise StoreError("nothing to forget: name documents, --file or --source")
    wanted = Forgotten(ids=tuple(sorted(set(ids))), sources=tuple(sorted(set(sources))))
    descent = Descent(store)
    start = descent.holders(wanted)
    held = frozenset().union(*start.values())
    if not unseen:
        _refuse_unseen(wanted, held, bool(start), descent)
    twins = near_twins(descent, held)
    if with_twins and twins:
        wanted = wanted.model_copy(update={"ids": tuple(sorted({*wanted.ids, *(twin["id"] for twin in twins)}))})
        start = descent.holders(wanted)
        held = frozenset().union(*start.values())
        twins = [twin for twin in near_twins(descent, held) if twin["id"] not in held]
    request = ask(store, wanted.ids, wanted.sources, why)
    derived = descent.derived(start)
    note(store, request, "derived", {"artifacts": [each.as_record() for each in derived]})
    return {
        "request": request.name,
        "documents": len(held),
        "ids": sorted(held),
        "twins": twins,
        **grouped(store, derived),
    }


def _refuse_unseen(wanted: Forgotten, held: Ids, anything: bool, descent: Descent) -> None:
    there = held | {id.rpartition("#")[0] for id in held}
    writings = descent.writings()
    missing = [id for id in wanted.ids if not any(written(id) in there for written in writings)]
    if missing:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise StoreError(
            f"no reading of sources in this store holds {', '.join(map(repr, missing[:5]))}{more}: write whole ids, as "
            "`textmill why` shows them, or add --unseen to keep out what was never read; nothing was marked"
        )
    if wanted.sources and not anything:
        raise StoreError(f"no source is called {', '.join(wanted.sources)}: nothing was marked")


def withdrawn(name: str, why: str) -> dict[str, Any]:
    """Let a request no longer stand: the next refresh reads its documents again.

    Raises:
        StoreError: there is no such request.
    """
    return {"request": withdraw(open_store(), name, why).name, "withdraws": name}


def retire(why: str) -> dict[str, Any]:
    """Take the names from everything that was made of forgotten documents, here and in MLflow.

    Returns:
        `retired` (what was retired, by kind), `aliases` (taken away here), `told` (whether MLflow was told, or why
        not), `versions` (registered versions that were retired), `remains` (folders, with bytes; of those at URLs and
        on other machines bytes are None).

    Raises:
        StoreError: nothing is to be forgotten.
    """
    store = open_store()
    asked = standing(store)
    if not asked:
        raise StoreError("nothing is to be forgotten: `textmill forget ID...` marks documents")
    descent = Descent(store)
    every: dict[str, Derived] = {}
    taken: list[str] = []
    aliases = store.aliases()
    for request in asked:
        derived = _derived_of(store, descent, request)
        every |= {each.artifact.key: each for each in derived}
        here = [name for name, target in aliases.items() if target["key"] in {d.artifact.key for d in derived}]
        for name in here:
            if name not in taken:
                store.remove_alias(name)
                taken.append(name)
        record = {"artifacts": [each.as_record() for each in derived], "aliases": here, "time": time.time()}
        note(store, request, "retired", record)
    told, versions = _tell_mlflow(store, list(every.values()), asked, why)
    return {
        "requests": [request.name for request in asked],
        "aliases": sorted(taken),
        "told": told,
        "versions": versions,
        "remains": _remains(store, every.values()),
        **grouped(store, list(every.values())),
    }


def _derived_of(store: Store, descent: Descent, request: Request) -> list[Derived]:
    """What was made of a request's documents, with what was found when it was marked: of that some may be gone, and
    with it the way to what was made of it."""
    start = descent.holders(Forgotten(ids=request.ids, sources=request.sources))
    known = [key for _, key in noted_for(store, "derived").get(request.name, ())]
    derived = descent.derived(start)
    found = {each.artifact.key for each in derived}
    lost = {key: frozenset(request.ids or request.sources) for key in known if key in descent.manifests.keys() - found}
    return descent.derived({**start, **lost}) if lost else derived


def _tell_mlflow(
    store: Store, derived: list[Derived], asked: list[Request], why: str
) -> tuple[str, list[dict[str, str]]]:
    """Journal what is retired, and send it now if a server answers; else it is sent with the next run."""
    named = registered_as(store, derived)
    keys = [each.artifact.key for each in derived if each.kind != "data"]
    reason = why or "learned from documents that are to be forgotten"
    names = sorted({name for of in named.values() for name in of})
    config = {"requests": [request.name for request in asked], "artifacts": len(derived)}
    with pipeline_run("forget", config, Resources(), store=store, display=Display(quiet=True), follow=False) as run:
        assert run.directory is not None
        journal = Journal(run.directory)
        journal.write("retire", keys=keys, names=names, why=reason)
        journal.close()
    return _send(store, run, names)


def _send(store: Store, run: Run, names: list[str]) -> tuple[str, list[dict[str, str]]]:
    assert run.directory is not None
    if not services.is_up("mlflow"):
        return "MLflow does not answer: the next run, or `textmill up`, tells it", []
    from mlflow import MlflowClient

    from tasks.tracking.registry import retired_versions
    from tasks.tracking.shipper import ship_run

    client = MlflowClient()
    try:
        ship_run(store, run.directory, client)
        return "MLflow was told", retired_versions(client, names)
    except Exception as error:  # noqa: BLE001  any answer but success means: the journal keeps it
        return f"MLflow did not take it ({type(error).__name__}): the next run, or `textmill up`, tells it", []


def _remains(store: Store, derived: Iterable[Derived]) -> list[dict[str, Any]]:
    """The folders that still hold something and those that it was written to, largest first; but before them what is
    elsewhere, of which nothing is known, not even whether it is still there."""
    found: list[dict[str, Any]] = []
    for each in derived:
        if each.artifact.path.exists():
            found.append({"place": str(each.artifact.path), "bytes": _size(each.artifact.path)})
        for export in exports_of(store, each.artifact):
            found.append({"place": export.place, "bytes": None if export.folder is None else _size(export.folder)})
    return sorted(found, key=lambda row: (row["bytes"] is not None, -(row["bytes"] or 0), row["place"]))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def history() -> list[dict[str, Any]]:
    """Every request, the oldest first, and what became of it."""
    store = open_store()
    every, stands = requests(store), {request.name for request in standing(store)}
    derived, retired = (defaultdict(set, noted_for(store, what)) for what in ("derived", "retired"))

    def left(name: str) -> int:
        return sum((store.artifacts / stage / key).exists() for stage, key in derived[name] | retired[name])

    return [
        {
            "request": request.name,
            "said": str(request),
            "ids": list(request.ids),
            "sources": list(request.sources),
            "withdraws": request.withdraws,
            "stands": request.name in stands,
            "derived": len(derived[request.name]),
            "retired": len(retired[request.name]),
            "on_disk": left(request.name),
        }
        for request in every
    ]


def describe(answer: dict[str, Any]) -> str:
    """What was marked, in words."""
    lines = [f"request {answer['request']}: {answer['documents']:,} documents of this store are to be forgotten"]
    lines += described_groups(answer)
    if answer["twins"]:
        lines.append(f"  near-twins, which are not marked: {len(answer['twins'])}; --with-twins marks them, too")
        lines += [f"    {t['id']}  like {t['like']}{_alike(t['jaccard'])}" for t in answer["twins"][:SHOWN]]
    lines.append(
        "  next: run the refresh (textmill run CONFIG), then textmill forget --retire, then textmill gc --delete"
    )
    return "\n".join(lines)


def _alike(jaccard: float | None) -> str:
    return "" if jaccard is None else f" (Jaccard {jaccard:.3f})"


def describe_retired(answer: dict[str, Any]) -> str:
    """What was retired, in words."""
    lines = [f"retired for {', '.join(answer['requests'])}", *described_groups(answer)]
    lines.append(f"  aliases taken away: {', '.join(answer['aliases']) or 'none'}")
    lines.append(f"  {answer['told']}")
    lines += [f"    {v['name']} version {v['version']}  {v['source']}" for v in answer["versions"]]
    sizes = [row["bytes"] for row in answer["remains"]]
    elsewhere = f", and {sizes.count(None)} elsewhere" if None in sizes else ""
    total = sum(filter(None, sizes))
    lines.append(f"  still on disk ({total:,} bytes{elsewhere}); `textmill gc --delete` takes what is in the store:")
    for row in answer["remains"]:
        lines.append(f"    {'unknown' if row['bytes'] is None else format(row['bytes'], ','):>12}  {row['place']}")
    return "\n".join(lines)


def describe_history(asked: list[dict[str, Any]]) -> str:
    """The list of requests, in words."""
    if not asked:
        return "nothing was ever asked to be forgotten"
    lines = []
    for each in asked:
        lines.append(each["said"])
        if each["withdraws"]:
            lines.append(f"  withdraws {each['withdraws']}")
            continue
        what = [f"{len(each['ids']):,} documents or files"] if each["ids"] else []
        what += [f"source {source}" for source in each["sources"]]
        state = "stands" if each["stands"] else "withdrawn"
        lines.append(f"  {state}; {', '.join(what)}")
        lines.append(
            f"  made of them: {each['derived']} artifacts found, {each['retired']} retired, {each['on_disk']} on disk"
        )
    return "\n".join(lines)
