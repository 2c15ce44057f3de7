"""Documents of one address: of those with the same normalised URL one stays.

`url_shard` reads the address of every document of one shard; `url_dedupe` groups all shards.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pyarrow as pa

from data_quality.config import UrlDedupeConfig, UrlFormConfig
from data_quality.dedupe.evidence import DUPLICATES_SCHEMA
from data_quality.dedupe.keep import preference
from data_quality.errors import UsageError
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet
from data_quality.sql import open_database, parquet, single_row, write_rows

URLS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("chars", pa.int64(), nullable=False),
        pa.field("url", pa.string()),
    ]
)
_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normalize_url(url: str, tracking_parameters: Sequence[str] = ()) -> str | None:
    """The normal form of an absolute URL by RFC 3986 section 6, or None for what is none (no scheme or no host).

    Scheme and host in lower case (the host as IDNA), default port and user off, escapes in upper case and only where
    they are needed, dot segments resolved, fragment off, slashes at the end of the path off, tracking parameters off.
    The rest of the query keeps its order, as its meaning may depend on it. http and https stay apart, and so do names
    with and without www.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not parts.scheme or not host:
        return None
    scheme = parts.scheme.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    host = f"[{host}]" if ":" in host else host.rstrip(".")
    where = host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    path = _without_dots(_escaped(parts.path, "/:@!$&'()*+,;="))
    query = _escaped(parts.query, "/?:@!$'()*+,;=&")
    pairs = [pair for pair in query.split("&") if pair and not _tracks(pair.split("=")[0], tracking_parameters)]
    return f"{scheme}://{where}{path.rstrip('/')}" + ("?" + "&".join(pairs) if pairs else "")


def _escaped(part: str, allowed: str) -> str:
    """Every character escaped that needs it and no unreserved one; what was escaped stays so in upper case."""

    def escape(match: re.Match[str]) -> str:
        [byte] = unquote_to_bytes(match.group())
        return chr(byte) if byte in _UNRESERVED else match.group().upper()

    return quote(_ESCAPE.sub(escape, part), safe=allowed + "%", errors="replace")


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def _tracks(name: str, tracking_parameters: Sequence[str]) -> bool:
    name = name.lower()
    return any(name.startswith(p[:-1].lower()) if p.endswith("*") else name == p.lower() for p in tracking_parameters)


def url_shard(in_path: Path, out_path: Path, config: UrlFormConfig) -> dict[str, int]:
    """Write id, source, characters and normalised URL of every document of one shard, in its order.

    Memory: one row group.

    Returns:
        Counts: documents, urls (documents that have one), malformed (documents whose URL is no absolute URL).

    Raises:
        ValueError: a document's metadata holds something else than text where its URL should be.
    """
    counts = {"documents": 0, "urls": 0, "malformed": 0}
    with whole_parquet(out_path, URLS_SCHEMA) as writer:
        for batch in read_batches(in_path, ["id", "source", "text", "metadata"]):
            rows = batch.to_pylist()
            urls = [_url_of(row["id"], row["metadata"], config.field, in_path) for row in rows]
            normal = [url and normalize_url(url, config.tracking_parameters) for url in urls]
            counts["documents"] += len(rows)
            counts["urls"] += sum(1 for url in urls if url)
            counts["malformed"] += sum(1 for url, form in zip(urls, normal, strict=True) if url and form is None)
            table = {
                "id": [row["id"] for row in rows],
                "source": [row["source"] for row in rows],
                "chars": [len(row["text"]) for row in rows],
                "url": [form or None for form in normal],
            }
            writer.write_table(pa.table(table, schema=URLS_SCHEMA), row_group_size=BATCH_ROWS)
    return counts


def _url_of(id: str, metadata: str, field: str, path: Path) -> str | None:
    if f'"{field}"' not in metadata:  # most corpora have none: no JSON is read for them
        return None
    url = json.loads(metadata).get(field)
    if url is not None and not isinstance(url, str):
        raise UsageError(f"{path}: document {id!r} has the {field} {url!r}, which is no text: name another field")
    return url


def url_dedupe(
    url_paths: Sequence[Path],
    out_path: Path,
    config: UrlDedupeConfig,
    *,
    verdict_paths: Sequence[Path] = (),
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
) -> dict[str, int]:
    """Write `out_path`, DUPLICATES_SCHEMA ordered by id: one row for every document that goes, kind "url".

    The texts are not compared (jaccard is null): two visits of one page are two versions of it, and one is enough.

    Args:
        url_paths: what `url_shard` wrote, of all shards.
        verdict_paths: Parquet with id, first_reason (null: passes) and listed; a document that fails is never kept in
            favour of one that passes, and what the keep-list names comes before all others and never goes. A document
            without a verdict passes.

    Returns:
        Counts: documents, urls (with a normal form), url (dropped), families, largest_family.
    """
    order = preference(config.keep)
    join, stays, first = "", "FALSE", ""
    if verdict_paths:
        join = f"LEFT JOIN (SELECT id AS judged, first_reason, listed FROM {parquet(verdict_paths)}) ON judged = s.id"
        stays = "listed IS NOT DISTINCT FROM 'keep'"
        first = f"NOT ({stays}), first_reason IS NOT NULL, "
    with open_database(temp_directory, memory_limit, threads) as (sql, _):
        sql.execute(
            f"""
            CREATE TABLE duplicates AS
            SELECT dropped, kept, family_size FROM (
                SELECT s.id AS dropped, first_value(s.id) OVER family AS kept, {stays} AS stays,
                       count(*) OVER (PARTITION BY url) AS family_size
                FROM {parquet(url_paths)} s {join} WHERE url IS NOT NULL
                WINDOW family AS (PARTITION BY url ORDER BY {first}{order})
            ) WHERE dropped != kept AND NOT stays
            """
        )
        documents, urls = single_row(sql, f"SELECT count(*), count(url) FROM {parquet(url_paths)}")
        dropped, families, largest = single_row(
            sql, "SELECT count(*), count(DISTINCT kept), coalesce(max(family_size), 0) FROM duplicates"
        )
        rows = sql.sql(
            "SELECT dropped, kept, 'url' AS kind, NULL::DOUBLE AS jaccard, family_size FROM duplicates ORDER BY dropped"
        )
        write_rows(rows, DUPLICATES_SCHEMA, Path(out_path))
    return {"documents": documents, "urls": urls, "url": dropped, "families": families, "largest_family": largest}
