"""How well and how fast HTML becomes text: resiliparse, trafilatura and our own `data_quality.extract`, in turn.

    python -m benchmarks.html_extraction --articles DIR --manuals DIR [--per-site 40]

`--articles` is a checkout of scrapinghub/article-extraction-benchmark: 181 news and blog pages, their article bodies
copied out by people. `--manuals` is a folder into which Debian documentation packages were unpacked (`apt-get download
python3.11-doc sqlite3-doc git-doc postgresql-doc-15 gimp-help-en octave-doc installation-guide-amd64
python-django-doc rust-doc debian-handbook libreoffice-help-zh-cn`, then `dpkg -x` each into `DIR/<package>`). Their
templates are known, so the gold is the text of the template's content element, less its navigation.

Quality: precision, recall and F1 of 4-token shingles (multisets), averaged over pages, as the article benchmark counts
them; a Chinese character is a token. "Title" is no part of either gold. Speed: bytes of UTF-8 HTML a second, one core.
"""

import argparse
import functools
import gzip
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import lxml.etree
import lxml.html

TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
SHINGLE = 4
# package -> (below usr/share, XPath of the content element, XPath of what in it is navigation)
MANUALS = {
    "python3.11-doc": ("doc/python3.11/html", "//div[@class='body']", ".//a[@class='headerlink']"),
    "python-django-doc": ("doc/python-django-doc/html", "//div[@class='yui-b']", ".//a[@class='headerlink']"),
    "sqlite3-doc": ("doc/sqlite3", "//body", "./div[@class='nosearch'] | .//div[contains(@class, 'toc')]"),
    "git-doc": ("doc/git-doc", "//div[@id='content']", ".//script"),
    "postgresql-doc-15": ("doc/postgresql-doc-15/html", "//body", "./div[contains(@class, 'nav')]"),
    "gimp-help-en": ("gimp/2.0/help/en", "//body", "./div[contains(@class, 'nav')]"),
    "octave-doc": ("doc/octave/octave.html", "//body", ".//div[@class='header'] | .//div[@class='nav-panel']"),
    "installation-guide-amd64": ("doc/installation-guide-amd64/en", "//body", "./div[contains(@class, 'nav')]"),
    "rust-doc": ("doc/rust-doc/html/book", "//main", ".//div[@class='buttons'] | .//nav"),
    "debian-handbook": ("doc/debian-handbook/html/zh-CN", "//body", "./ul[@class='docnav'] | .//p[@id='title']"),
    "libreoffice-help-zh-cn": ("libreoffice/help/zh-CN/text", "//div[@id='DisplayArea']", ".//nav"),
}


class Page(NamedTuple):
    """A page as served, and the text that should come out."""

    site: str
    name: str
    html: str
    gold: str


def articles(checkout: Path) -> Iterator[Page]:
    """The pages of the article extraction benchmark."""
    for name, entry in sorted(json.loads((checkout / "ground-truth.json").read_text()).items()):
        html = gzip.decompress((checkout / "html" / f"{name}.html.gz").read_bytes()).decode(errors="replace")
        yield Page("articles", name, html, entry["articleBody"])


def manuals(folder: Path, per_site: int) -> Iterator[Page]:
    """Pages of each package, spread evenly over its files, with the content element's text as gold."""
    for package, (below, content, navigation) in MANUALS.items():
        paths = sorted((folder / package / "usr/share" / below).rglob("*.html"))
        paths = [path for path in paths if path.stat().st_size > 2000 and not path.is_symlink()]
        taken = 0
        for path in paths[:: max(1, len(paths) // (2 * per_site))]:
            html = path.read_bytes().decode(errors="replace")
            found = lxml.html.document_fromstring(html.encode(), parser=lxml.html.HTMLParser(encoding="utf-8"))
            nodes = found.xpath(content)
            if not nodes or taken >= per_site:
                continue
            for node in nodes[0].xpath(f"({navigation}) | .//script | .//style"):
                node.drop_tree()
            gold = " ".join(nodes[0].xpath(".//text()"))
            if len(gold.split()) > 30:
                taken += 1
                yield Page(package, str(path.relative_to(folder)), html, gold)


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """Multiset of 4-token shingles; a shorter text is one shingle."""
    tokens = TOKEN.findall(text)
    if 0 < len(tokens) < SHINGLE:
        return Counter([tuple(tokens)])
    return Counter(zip(*(tokens[start:] for start in range(SHINGLE)), strict=False))


def score(gold: str, found: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of ``found``."""
    wanted, got = shingles(gold), shingles(found)
    common = sum((wanted & got).values())
    precision = common / got.total() if got else float(not wanted)
    recall = common / wanted.total() if wanted else 1.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def extractors() -> dict[str, Callable[[str], str]]:
    """The candidates, all given a decoded string."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    from data_quality.extract import extract_html

    return {
        "textmill": lambda html: extract_html(html).text,
        "textmill, whole page": lambda html: extract_html(html, main_content=False).text,
        "resiliparse": functools.partial(extract_plain_text, main_content=True),
        "resiliparse, whole page": extract_plain_text,
        "trafilatura": lambda html: trafilatura.extract(html) or "",
        "trafilatura, fast": lambda html: trafilatura.extract(html, fast=True) or "",
        "trafilatura, precision": lambda html: trafilatura.extract(html, favor_precision=True) or "",
        "trafilatura, recall": lambda html: trafilatura.extract(html, favor_recall=True) or "",
    }


def main() -> None:
    """Print one table for each site group and one by site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path)
    parser.add_argument("--manuals", type=Path)
    parser.add_argument("--per-site", type=int, default=40)
    options = parser.parse_args()
    pages = list(articles(options.articles)) if options.articles else []
    pages += list(manuals(options.manuals, options.per_site)) if options.manuals else []
    size = sum(len(page.html.encode()) for page in pages)
    print(f"{len(pages)} pages, {size / 1e6:.1f} MB of HTML")
    by_site: dict[str, dict[str, list[float]]] = {}
    print("| extractor | group | precision | recall | F1 | empty | MB/s |\n|---|---|---|---|---|---|---|")
    for name, extract in extractors().items():
        extract(pages[0].html)  # imports and compiled code
        groups: dict[str, list[tuple[float, float, float]]] = {"articles": [], "manuals": []}
        seconds = dict.fromkeys(groups, 0.0)
        read = dict.fromkeys(groups, 0)
        for page in pages:
            group = "articles" if page.site == "articles" else "manuals"
            started = time.perf_counter()
            text = extract(page.html)
            seconds[group] += time.perf_counter() - started
            read[group] += len(page.html.encode())
            scores = score(page.gold, text)
            groups[group].append(scores)
            by_site.setdefault(page.site, {}).setdefault(name, []).append(scores[2])
        for group, rows in groups.items():
            if rows:
                means = " | ".join(f"{statistics.fmean(column):.3f}" for column in zip(*rows, strict=True))
                empty = sum(row[1] == 0 for row in rows)
                print(f"| {name} | {group} | {means} | {empty} | {read[group] / seconds[group] / 1e6:.2f} |")
    print("\nF1 by site:\n\n| site | pages | " + " | ".join(extractors()) + " |")
    print("|---|---|" + "---|" * len(extractors()))
    for site, columns in sorted(by_site.items()):
        cells = " | ".join(f"{statistics.fmean(column):.3f}" for column in columns.values())
        print(f"| {site} | {len(next(iter(columns.values())))} | {cells} |")


if __name__ == "__main__":
    main()
