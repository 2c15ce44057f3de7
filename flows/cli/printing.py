"""What the commands print for people; `--json` prints the same data for programs."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.figures import size, when

out = Console(highlight=False, soft_wrap=True, emoji=False)  # `:100:` may be a part of an id
SHOWN_ENTRIES = 10


def show_summary(summary: dict[str, Any]) -> None:
    """What a finished run says."""
    out.print()
    for name, value in summary["figures"].items():
        out.print(f"  {name:<34} {value}")
    if summary.get("sample"):
        out.print("\n  A sample of what the model writes:")
        out.print("    " + summary["sample"].strip().replace("\n", "\n    "), markup=False)
    out.print()
    for name, address in summary["links"].items():
        out.print(f"  {name:<10} {address}")
    if "outcome" in summary:
        out.print(f"\n  {escape(summary['outcome'])}")
    state, seconds, outside = summary["state"], summary["seconds"], summary["outside_stages_seconds"]
    if state != "Completed":
        out.print(f"\n  [red]{state}[/]: {escape(str(summary['message']))}")
        out.print("  Everything finished so far is kept; run again, it goes on from there.")
    out.print(f"\n  {state} in {seconds:.1f} s, {outside:.1f} s of it outside stages. `make down` stops the servers.")


def show_plan(plan: dict[str, Any]) -> None:
    """A dry run."""
    for step in plan["stages"]:
        estimate = ""
        if "seconds" in step:
            estimate = f"about {step['seconds']:.0f} s, {size(step['memory'])} memory, {size(step['disk'])} disk"
            estimate += f" (as {step['estimated_from']})"
        out.print(f"  {step['state']:<6} {step['label']:<28} {estimate} {step.get('note', '')}".rstrip())
    total = plan["totals"]
    if total["build"] and total["unknown"] == total["build"]:
        unknown = "none ever ran here, so nothing is known of time and memory"
        out.print(f"\n  {total['reuse']} reused, {total['build']} to build: {unknown}")
        return
    out.print(
        f"\n  {total['reuse']} reused, {total['build']} to build: about {total['seconds']:.0f} s, "
        f"{size(total['memory'])} memory at most, {size(total['disk'])} disk"
        + (f"; {total['unknown']} of them never ran here, so nothing is known of them" if total["unknown"] else "")
    )


def show_services(services: dict[str, dict[str, object]]) -> None:
    """Servers and workers."""
    width = max(8, *map(len, services))
    for name, service in services.items():
        state = "up" if service["running"] else "down"
        out.print(f"  {name:<{width}} {state:<5} {service.get('url') or ''}  log: {service.get('log') or ''}")


def show_artifacts(artifacts: list[dict[str, Any]]) -> None:
    """One line an artifact."""
    for a in artifacts:
        name = f"{a['stage']}/{a['key'][:12]}"
        out.print(f"  {name:<30} {size(a['bytes']):>10}  {when(a['created'])}  {a['content_digest'][:12]}")


def show_artifact(artifact: dict[str, Any]) -> None:
    """One artifact with its lineage."""
    shown = {name: artifact[name] for name in ("stage", "key", "content_digest", "path")}
    shown["created"] = when(artifact["created"])
    if artifact["report"] is not None:
        shown["report"] = artifact["report"]
    if artifact["seconds"] is not None:
        shown |= {"seconds": f"{artifact['seconds']:.1f}", "peak_memory": size(artifact["peak_memory"])}
    for name, value in shown.items():
        out.print(f"  {name:<15} {value}", markup=False)
    out.print("  counts")
    for name, value in artifact["counts"].items():
        out.print(f"    {name:<28} {value:,}" if isinstance(value, int) else f"    {name:<28} {value}")
    out.print("  lineage")
    for step in artifact["lineage"]:
        out.print(f"    {'  ' * step['depth']}{step['stage']}/{step['key'][:12]}  {step['note']}")


def show_cleaned(manifest: dict[str, Any], out_directory: object) -> None:
    """What a cleaning left."""
    from data_quality.sources.base import NAME_THE_COLUMN

    documents, profile = manifest["documents"], manifest["profile"]
    out.print(f"\n  {documents['read']:,} documents read, {documents['kept']:,} kept")
    if manifest["skipped"]:
        listed = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in manifest["skipped"].items())
        out.print(f"  {sum(manifest['skipped'].values()):,} files or records skipped: {listed}")
        for example in manifest["skip_examples"]:
            out.print(f"    {example}", markup=False)
        if "missing_column" in manifest["skipped"]:
            out.print(f"    {NAME_THE_COLUMN}", markup=False)
    not_drawn = documents["dropped"] - sum(profile["reasons"].values())
    reasons = [*profile["reasons"].items(), *([("mixture.not_drawn", not_drawn)] if not_drawn else [])]
    for reason, count in sorted(reasons, key=lambda pair: -pair[1])[:10]:
        out.print(f"  {count:>9,}  {reason}")
    _show_unmatched(manifest)
    out.print(f"\n  {out_directory}/kept, dropped, report.html, manifest.json", markup=False)


def _show_unmatched(manifest: dict[str, Any]) -> None:
    """The entries of the keep- and the drop-list that do nothing, and the sources that they may mean."""
    unmatched = manifest["unmatched"]
    count, examples = unmatched["entries"], unmatched["examples"][:SHOWN_ENTRIES]
    if not count:
        return
    out.print(f"\n  [yellow]warning[/]: no document matches {count:,} of the entries of the keep- and the drop-list:")
    for each in examples:
        out.print(f"    rules.{each['list'].removeprefix('list.')}.{each['field']}s: {each['entry']}", markup=False)
    if count > len(examples):
        out.print(f"    and {count - len(examples):,} more")
    if any(each["field"] == "source" for each in examples):
        names = list(manifest["profile"]["sources"])
        more = f" and {len(names) - SHOWN_ENTRIES:,} more" if len(names) > SHOWN_ENTRIES else ""
        out.print(f"    the sources of these documents are {', '.join(names[:SHOWN_ENTRIES])}{more}", markup=False)


def show_garbage(kind: str, bytes: float, age_seconds: float, name: object) -> None:
    """One thing that garbage collection may remove."""
    out.print(f"{kind:<9} {size(bytes):>10}  {age_seconds / 3600:6.1f} h  {name}")


def show_why(answer: dict[str, Any]) -> None:
    """What was decided about a document."""
    from flows.commands.why import describe

    out.print(describe(answer), markup=False)


def show_tuning(answer: dict[str, Any]) -> None:
    """What other thresholds would do, and the documents at the edge."""
    from data_quality.rules import measured, written

    out.print(f"  {'rule':<48} {'threshold':>20} {'documents':>22} {'bytes':>22}")
    for row in answer["rules"]:
        old, new = (None if side is None else written(side) for side in row["threshold"])
        threshold = f"{row['operator']} {old}" if old == new else f"{row['operator']} {old} → {new}"
        documents, sizes = (_change(row[name], form) for name, form in (("documents", "{:,}".format), ("bytes", size)))
        mark = "[bold]" if old != new else ""
        out.print(f"  {mark}{row['rule']:<48} {threshold:>20} {documents:>22} {sizes:>22}")
    kept, sizes = _change(answer["passed"], "{:,}".format), _change(answer["passed_bytes"], size)
    out.print(f"\n  pass all rules: {kept} of {answer['documents']:,} documents, {sizes}")
    out.print(f"  {answer['gained']:,} pass only now, {answer['lost']:,} only before")
    thresholds = {row["rule"]: row["threshold"][1] for row in answer["rules"]}
    for rule, examples in answer["examples"].items():
        out.print(f"\n  at the edge of {rule}:")
        for row in examples:
            value = measured(row["value"], thresholds[rule])
            out.print(f"    {value} {'drop' if row['fires'] else 'pass'}  {row['id']}", markup=False)
            out.print(f"      {row['text']}", markup=False)


def show_diff(answer: dict[str, Any]) -> None:
    """What changed between two corpora."""
    out.print(f"  {answer['before']} → {answer['after']}: {answer['unchanged']:,} documents as before")
    for row in answer["changes"]:
        reasons = " → ".join(str(row[side]) for side in ("reason_before", "reason_after") if row[side])
        out.print(f"  {row['documents']:>9,}  {row['change']}{f' ({reasons})' if reasons else ''}")
        for id in row["examples"]:
            out.print(f"             {id}", markup=False)


def _change(pair: list[int], form: Any) -> str:
    old, new = pair
    return form(old) if old == new else f"{form(old)} → {form(new)}"


def show_score(found: dict[str, Any]) -> None:
    """What a model says of a file."""
    for name in ("texts", "tokens", "bytes"):
        out.print(f"  {name:<22} {found[name]:,}")
    if "pseudo_log_likelihood" in found:
        out.print(f"  {'pseudo-log-likelihood':<22} {found['pseudo_log_likelihood']:,.2f} nats")
        out.print(f"  {'pseudo-perplexity':<22} {found['pseudo_perplexity_per_token']:,.2f} per token")
        return
    bits, perplexity = found["bits_per_byte"], found["perplexity_per_token"]
    infinite = "infinite: it gives some of this no probability"
    none = infinite if found["bytes"] else "none: it gives bytes no probability"
    out.print(f"  {'bits per byte':<22} " + (none if bits is None else f"{bits:.4f}"))
    out.print(f"  {'perplexity per token':<22} " + (infinite if perplexity is None else f"{perplexity:,.2f}"))


def show_neighbours(found: dict[str, Any]) -> None:
    """Words and cosines."""
    for row in found["neighbours"]:
        out.print(f"  {row['cosine']:.4f}  {row['word']}", markup=False)


def show_filled(found: dict[str, Any]) -> None:
    """The candidates of each gap."""
    for number, gap in enumerate(found["gaps"]):
        if number:
            out.print()
        for row in gap:
            out.print(f"  {row['probability']:.4f}  {row['token']}", markup=False)


def show_embedded(found: dict[str, Any], written: object) -> None:
    """A line of numbers for each text; or where they were written."""
    if written is not None:
        out.print(f"  {found['texts']:,} vectors of {found['dimensions']} numbers in {written}", markup=False)
        return
    for line in found["lines"]:
        print("\t".join(f"{number:.6g}" for number in line["vector"]))  # the console would write spaces for tabs


def show_exported(found: dict[str, Any]) -> None:
    """The files that were written."""
    for path, count in found["files"].items():
        out.print(f"  {path}  {size(count)}", markup=False)
