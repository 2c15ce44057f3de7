"""The further dedupe stages over generated pages: their tables say what was done, and memory is in no key."""

from pathlib import Path

import pytest

from data_quality.config import LanguageConfig, SignalsConfig, SignatureConfig, SubstringConfig
from tasks.languages import languages
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.signals import signals, signatures
from tasks.store import Artifact, Store
from tasks.substring import substring
from tests.tasks import dedupe_cases


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    root: Path = tmp_path_factory.mktemp("store")
    cases = dedupe_cases
    with use_run(Run(Store(root), Resources(workers=1, threads=1), Display(quiet=True))):
        made = {
            "corpus": cases.pages(),
            "windows": cases.windows_case(),
            "url": cases.url_case(),
            "boilerplate": cases.boilerplate_case(),
            "substring": cases.substring_case(),
            "mixture": cases.mixture_case(),
            "smaller": substring(
                SubstringConfig(enabled=True, group_bytes=1 << 16),
                corpus=cases.pages(),
                windows=cases.windows_case(),
                verdicts=[],
                duplicates=[cases.url_case()],
            ),
        }
    pool.shut_down()
    return made


def test_ten_pages_were_fetched_twice(built: dict[str, Artifact]) -> None:
    assert built["url"].counts() == {"documents": 40, "urls": 40, "url": 10, "families": 10, "largest_family": 2}


def test_the_footer_of_the_site_goes_from_all_pages(built: dict[str, Artifact]) -> None:
    counts = built["boilerplate"].counts()
    assert (counts["counted"], counts["boilerplate"], counts["spans"]) == (30, 1, 40)
    assert counts["removed"] == 40 * len(dedupe_cases.FOOTER)


def test_a_quoted_paragraph_stays_once_among_the_pages_that_stay(built: dict[str, Artifact]) -> None:
    spans = rows("FROM read_parquet(?)", [str(built["substring"].file("spans.parquet"))])
    assert len({span["other"] for span in spans}) == 1
    dropped = rows("SELECT dropped FROM read_parquet(?)", [str(built["url"].file("duplicates.parquet"))])
    assert not {row["dropped"] for row in dropped} & {span["id"] for span in spans}


def test_memory_changes_no_key(built: dict[str, Artifact]) -> None:
    assert built["smaller"].key == built["substring"].key


def test_the_mixture_is_in_the_manifest(built: dict[str, Artifact]) -> None:
    group = built["mixture"].counts()["groups"]["jsonl"]
    assert group["wanted"] > 1.5 * group["size"]
    copies = rows(
        "SELECT sum(copies)::BIGINT AS n FROM read_parquet(?)", [str(built["mixture"].file("copies.parquet"))]
    )
    assert copies[0]["n"] == group["drawn_documents"]


def test_a_python_with_another_unicode_measures_and_signs_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        corpus = dedupe_cases.pages()
        made = [
            corpus,
            signals(SignalsConfig(), corpus=corpus),
            signatures(SignatureConfig(), corpus=corpus),
            languages(LanguageConfig(), corpus=corpus),
            dedupe_cases.windows_case(),
            dedupe_cases.substring_case(),  # refuses windows that another Unicode cut
        ]
        return [
            key for artifact in made[:-1] for key in (artifact.key, *(p["key"] for p in artifact.manifest()["parts"]))
        ]

    with use_run(Run(Store(tmp_path), Resources(workers=1, threads=1), Display(quiet=True))):
        before = keys()
        assert keys() == before
        monkeypatch.setattr("unicodedata.unidata_version", "99.0.0")
        assert not set(before) & set(keys())
