"""What the dedupe kernels should do, said again in plain Python: strings, sets and loops, no shared code."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import regex

from data_quality.config import SignatureConfig
from data_quality.dedupe.signatures import signature_shard

_SCRIPTS = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}\p{Yi}\p{Tangut}\p{Nushu}\p{Kits}"
    r"\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Ahom}\p{Buginese}\p{Balinese}\p{Batak}\p{Javanese}"
    r"\u3006\u3031-\u3035\u30fb-\u30fe\uff70\uff9e\uff9f"
)
UNSPACED = regex.compile(rf"(?V1)[[{_SCRIPTS}]&&[\p{{L}}\p{{Nl}}]][[{_SCRIPTS}]&&\p{{Mc}}]*")


def normalize(text: str) -> str:
    """datatrove's `simplify_text`, with every symbol a separator, and spaces around unspaced characters."""
    text = "".join(c.lower() for c in text).replace("ς", "σ")
    text = regex.sub(r"\p{Nd}+([.,،٫⎖⎗⎘]\p{Nd}+)?", "0", text)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn") or c == "\u200b")
    text = "".join(" " if unicodedata.category(c)[0] in "PSZ" or c == "\u200b" else c for c in text)
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


@lru_cache(maxsize=20_000)
def shingle_set(text: str, size: int = 5) -> frozenset[tuple[str, ...]]:
    """Word shingles as tuples of strings."""
    words = UNSPACED.sub(lambda match: f" {match.group()} ", normalize(text)).split(" ")
    words = [word for word in words if word]
    if not words:
        return frozenset([("raw", text)])
    return frozenset(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def true_jaccard(left: str, right: str, size: int = 5) -> float:
    a, b = shingle_set(left, size), shingle_set(right, size)
    return len(a & b) / len(a | b)


Document = tuple[str, str, str]  # id, source, text


def write_documents(path: Path, documents: Iterable[Document]) -> Path:
    rows = list(documents)
    table = {
        "id": pa.array([row[0] for row in rows], pa.string()),
        "source": pa.array([row[1] for row in rows], pa.string()),
        "text": pa.array([row[2] for row in rows], pa.string()),
        "text_hash": pa.array(
            [hashlib.blake2b(row[2].encode(), digest_size=16).hexdigest() for row in rows], pa.string()
        ),
    }
    pq.write_table(pa.table(table), path)
    return path


def write_signatures(
    directory: Path, documents: Sequence[Document], config: SignatureConfig | None = None, shards: int = 1
) -> list[Path]:
    """Sign `documents`, dealt out to `shards` shards."""
    config = config or SignatureConfig()
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(shards):
        source = write_documents(directory / f"documents-{number}.parquet", documents[number::shards])
        paths.append(directory / f"{number:05d}.parquet")
        signature_shard(source, paths[-1], config)
    return paths


def greedy(documents: Sequence[Document], signatures: Sequence[Path], threshold: float) -> dict[str, tuple[str, float]]:
    """{dropped: (kept, jaccard)} for documents in order of preference: pairs that share a band, true sets, loops.

    A document with the shingle set of an earlier one shares its fate.
    """
    bands: dict[str, set[tuple[int, int]]] = {}
    for path in signatures:
        for row in pq.read_table(path).drop_columns(["shingles"]).to_pylist():
            bands[row["id"]] = {(i, row[f"b{i}"]) for i in range(len(row)) if f"b{i}" in row}
    sets = {id_: shingle_set(text) for id_, _, text in documents}
    kept: list[str] = []
    dropped: dict[str, tuple[str, float]] = {}
    first: dict[frozenset[tuple[str, ...]], str] = {}
    for id_, _, _ in documents:
        same = first.setdefault(sets[id_], id_)
        if same != id_:
            dropped[id_] = dropped.get(same, (same, 1.0))
            continue
        twins: list[tuple[float, int, str]] = []
        for place, other in enumerate(kept):
            if bands[id_] & bands[other]:
                similarity = len(sets[id_] & sets[other]) / len(sets[id_] | sets[other])
                if similarity >= threshold:
                    twins.append((-similarity, place, other))
        if twins:
            best = min(twins)
            dropped[id_] = (best[2], -best[0])
        else:
            kept.append(id_)
    return dropped


def read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


WORDS = """
the of and a to in is that it was for on are as with his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did down
only way find use may water long little very after words called just where most know get through back much before go
good new write our used me man too any day same right look think also around another came come work three word must
because does part even place well such here take why things help put years different away again off went old number
great tell men say small every found still between name should home big give air line set own under read last never us
left end along while might next sound below saw something thought both few those kernel driver buffer memory device
table index query thread signal value string option default package install
""".split()  # noqa: SIM905

HAN = (
    "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨露結為霜金生麗水玉出崑岡劍號巨闕珠稱夜光果珍李柰菜重芥薑"
    "海鹹河淡鱗潛羽翔龍師火帝鳥官人皇始制文字乃服衣裳推位讓國有虞陶唐弔民伐罪周發殷湯坐朝問道垂拱平章愛育黎首臣伏戎羌遐邇一體率賓歸王"
)
