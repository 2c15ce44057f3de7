"""Which detector names the encoding of undeclared text: `python -m benchmarks.charset_detection HANDBOOK`.

HANDBOOK is the `html` folder of Debian's debian-handbook package (`apt-get download debian-handbook`, `dpkg -x`): the
same pages in 26 languages. Stretches of 100, 500 and 3,000 characters of each page are written in the encodings their
language had before UTF-8; right is what decodes to the same text. Many stretches are hardly translated and hold
few characters that tell anything.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ENCODINGS = {
    "zh-CN": ["gb18030"], "zh-TW": ["big5hkscs", "gb18030"], "ja-JP": ["cp932", "euc_jp"], "ko-KR": ["cp949"],
    "ru-RU": ["cp1251", "koi8_r"], "de-DE": ["cp1252"], "fr-FR": ["cp1252"], "es-ES": ["cp1252"],
    "pl-PL": ["iso8859_2", "cp1250"], "cs-CZ": ["iso8859_2"], "el-GR": ["cp1253"], "ar-MA": ["cp1256"],
}  # fmt: skip


def detectors() -> dict[str, Callable[[bytes], str]]:
    """The candidates; each names a Python codec."""
    from charset_normalizer import from_bytes
    from resiliparse.parse.encoding import detect_encoding

    from data_quality.sources.charset import guess

    def normalizer(data: bytes) -> str:
        best = from_bytes(data).best()
        return best.encoding if best is not None else "ascii"

    return {
        "textmill": guess,
        "uchardet (resiliparse)": lambda data: detect_encoding(data, html5_compatible=False) or "ascii",
        "charset-normalizer": normalizer,
    }


def main() -> None:
    """Print the share of right answers and the milliseconds of each detector, by length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("handbook", type=Path)
    parser.add_argument("--pages", type=int, default=15, help="of each language")
    options = parser.parse_args()
    print("| detector | characters | samples | right | ms |\n|---|---|---|---|---|")
    totals: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for language, encodings in ENCODINGS.items():
        for path in sorted((options.handbook / language).glob("*.html"))[: options.pages]:
            text = " ".join(re.sub(r"<[^>]*>", " ", path.read_text()).split())
            for size in (100, 500, 3000):
                stretch = text[len(text) // 2 :][:size]
                for encoding in encodings:
                    data = stretch.encode(encoding, "ignore")
                    if data.isascii():
                        continue
                    for name, detect in detectors().items():
                        started = time.perf_counter()
                        found = detect(data)
                        total = totals[name, size]
                        total[2] += time.perf_counter() - started
                        total[0] += 1
                        total[1] += data.decode(found, "replace") == data.decode(encoding)
    for (name, size), (count, right, seconds) in totals.items():
        print(f"| {name} | {size} | {count} | {right / count:.1%} | {1000 * seconds / count:.2f} |")


if __name__ == "__main__":
    main()
