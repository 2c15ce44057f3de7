"""Personal data found, against independent oracles, on the mails of the English corpus.

    TEXTMILL_DATA=... python -m benchmarks.pii [--every 10] [--peer /path/to/venv/bin/python]

Oracles: for e-mail `email.utils.getaddresses` on the From, To, Cc, Reply-To and Return-Path headers; for addresses of
machines `ipaddress` on whatever stands in square brackets in Received headers; for telephone numbers the matcher of the
package `phonenumbers` (region US, numbers grouped as their country does), which must be installed for it. `recall` is
the share of the oracle's values that lie in one of our spans, `alone` what only we found: not all of it is wrong, read
it (--show). With --peer, an interpreter that has datatrove 0.10.1, its PIIFormatter is run on the same documents:
agreement of the e-mail and IP spans, and throughput of both in CPU time of one process.
"""

import argparse
import email.utils
import ipaddress
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from data_quality.config import PiiConfig
from data_quality.pii import find_pii

HEADER = re.compile(r"^(?:From|To|Cc|Reply-To|Return-Path): (.*(?:\n[ \t].*)*)", re.M)
RECEIVED = re.compile(r"^Received: (.*(?:\n[ \t].*)*)", re.M)
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

PEER = """
import json, sys, time
from datatrove.pipeline.formatters.pii import PIIFormatter
formatter = PIIFormatter()
texts = json.load(open(sys.argv[1]))
start = time.process_time()
for text in texts:
    formatter.format(text)
seconds = time.process_time() - start
spans = []
for text in texts:
    emails = [m.span() for m in formatter.emails_replacer.regex.finditer(text)]
    ips = [m.span() for m in formatter.ip_replacer.regex.finditer(text) if formatter.ip_replacer.validator(m.group(0))]
    spans.append({"email": emails, "ip": ips})
json.dump({"seconds": seconds, "spans": spans}, open(sys.argv[2], "w"))
"""

Found = set[tuple[int, int, int]]  # document, start, end


def read_mails(every: int) -> list[str]:
    """The text of each `every`-th mail."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds corpus_en")
    mails = []
    for path in sorted((Path(os.environ["TEXTMILL_DATA"]) / "corpus_en").glob("*.jsonl.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            for line in stream.read().splitlines():
                document = json.loads(line)
                if document["source"].endswith("spam-assassin"):
                    mails.append(document["text"])
    return mails[::every]


def places(text: str, within: tuple[int, int], value: str) -> Iterator[tuple[int, int]]:
    """Where `value` stands in a part of the text."""
    at = text.find(value, *within)
    while at >= 0:
        yield at, at + len(value)
        at = text.find(value, at + 1, within[1])


def header_addresses(text: str) -> set[tuple[int, int]]:
    """The addresses that the standard library parses out of the headers."""
    return {
        span
        for header in HEADER.finditer(text)
        for _, address in email.utils.getaddresses([header.group(1)])
        if ADDRESS.fullmatch(address) and address.isascii()
        for span in places(text, header.span(1), address)
    }


def received_addresses(text: str) -> set[tuple[int, int]]:
    """The public addresses in square brackets in the Received headers."""
    found = set()
    for header in RECEIVED.finditer(text):
        for inside in re.finditer(r"\[([^\[\]]*)\]", header.group(1)):
            try:
                public = ipaddress.ip_address(inside.group(1)).is_global
            except ValueError:
                continue
            if public:
                found.add((header.start(1) + inside.start(1), header.start(1) + inside.end(1)))
    return found


def phone_numbers(text: str) -> set[tuple[int, int]]:
    """What `phonenumbers` calls a valid number that is grouped as its country groups it."""
    import phonenumbers

    found = phonenumbers.PhoneNumberMatcher(text, "US", leniency=phonenumbers.Leniency.STRICT_GROUPING)
    return {(match.start, match.end) for match in found}


def compare(name: str, ours: Found, theirs: Found, mails: list[str], show: int, whole: bool) -> None:
    """Print recall and what only one side has; without `whole` the oracle speaks of a part of the text only."""
    by_document: dict[int, list[tuple[int, int]]] = {}
    for document, start, end in ours:
        by_document.setdefault(document, []).append((start, end))
    missed = [
        span
        for span in theirs
        if not any(start <= span[1] and span[2] <= end for start, end in by_document.get(span[0], []))
    ]
    line = {"category": name, "oracle": len(theirs), "recall": round(1 - len(missed) / max(1, len(theirs)), 4)}
    touched: dict[int, list[tuple[int, int]]] = {}
    for document, start, end in theirs:
        touched.setdefault(document, []).append((start, end))
    alone = [s for s in ours if not any(start < s[2] and s[1] < end for start, end in touched.get(s[0], []))]
    if whole:
        line |= {"ours": len(ours), "alone": len(alone)}
    print(json.dumps(line))
    for title, spans in (("missed", missed), ("alone", alone if whole else [])):
        for document, start, end in sorted(spans)[:: max(1, len(spans) // show)][:show] if show else []:
            text = mails[document]
            print(f"  {title}: {text[max(0, start - 30) : start]!r} >>{text[start:end]!r}<< {text[end : end + 15]!r}")


def main() -> None:
    """Find, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--peer")
    parser.add_argument("--show", type=int, default=0, help="examples of each kind of disagreement")
    options = parser.parse_args()
    mails = read_mails(options.every)
    megabytes = sum(len(text.encode()) for text in mails) / 1e6
    start = time.process_time()
    found = [find_pii(text, PiiConfig()) for text in mails]
    seconds = time.process_time() - start
    print(f"{len(mails)} mails, {megabytes:.1f} MB; ours {megabytes / seconds:.1f} MB/s")

    def of(*categories: str) -> Found:
        return {(n, s.start, s.end) for n, spans in enumerate(found) for s in spans if s.category in categories}

    def oracle(parse: object) -> Found:
        return {(n, *span) for n, text in enumerate(mails) for span in parse(text)}  # type: ignore[operator]

    compare("email, headers", of("email"), oracle(header_addresses), mails, options.show, whole=False)
    compare("ip, Received", of("ip", "email"), oracle(received_addresses), mails, options.show, whole=False)
    try:
        numbers = oracle(phone_numbers)
    except ModuleNotFoundError:
        print("phonenumbers is not installed: telephone numbers are not compared")
    else:
        compare("phone", of("phone", "cn_mobile"), numbers, mails, options.show, whole=True)
    if options.peer:
        with tempfile.TemporaryDirectory() as folder:
            texts, out = Path(folder) / "texts.json", Path(folder) / "out.json"
            texts.write_text(json.dumps(mails))
            subprocess.run([options.peer, "-c", PEER, str(texts), str(out)], check=True)
            peer = json.loads(out.read_text())
        print(f"datatrove {megabytes / peer['seconds']:.1f} MB/s (e-mail and IP only)")
        for category in ("email", "ip"):
            theirs = {(n, *span) for n, spans in enumerate(peer["spans"]) for span in spans[category]}
            compare(f"{category}, datatrove", of(category), theirs, mails, options.show, whole=True)


if __name__ == "__main__":
    main()
