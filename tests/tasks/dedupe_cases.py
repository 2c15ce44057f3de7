"""The further dedupe stages and the mixture over forty generated pages: for the honesty of stage versions."""

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer, models, pre_tokenizers

from data_quality.config import (
    FINEWEB2_REHYDRATION,
    BoilerplateConfig,
    IngestConfig,
    MixtureConfig,
    NormalizeConfig,
    SubstringConfig,
    UrlDedupeConfig,
)
from tasks.ingest import fingerprinted, ingest
from tasks.lines import boilerplate, line_tables
from tasks.mixture import mixture
from tasks.normalize import normalize
from tasks.stage import NoConfig
from tasks.store import Artifact
from tasks.substring import substring, windows
from tasks.token_counts import AdoptTokenizerConfig, adopt_tokenizer, count_tokens
from tasks.url import url_dedupe, urls
from tests.tasks.tiny_corpus import prose

FOOTER = "All rights reserved by the harbour office."


def pages() -> Artifact:
    """Pages of one site: some fetched twice, all with one footer, some that quote a paragraph."""
    draw = random.Random(2)
    quoted = prose(draw, "harbours", 8)
    records = [
        {
            "id": f"p{n:02d}",
            "text": f"{prose(draw, 'gardens', 5)}\n\n{quoted if n % 7 == 0 else ''}\n\n{FOOTER}",
            "url": f"HTTP://example.org/{n % 30}/?utm_source={n}",
        }
        for n in range(40)
    ]
    with TemporaryDirectory() as name:
        path = Path(name) / "pages.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        source = {"format": "jsonl", "paths": [str(path)], "id_column": "id", "metadata_columns": ["url"]}
        return normalize(
            NormalizeConfig(), corpus=ingest(fingerprinted(IngestConfig.model_validate({"sources": [source]})))
        )


def urls_case() -> Artifact:
    return urls(UrlDedupeConfig().form, corpus=pages())


def url_case() -> Artifact:
    return url_dedupe(UrlDedupeConfig(enabled=True), urls=urls_case(), verdicts=[])


def line_tables_case() -> Artifact:
    return line_tables(BoilerplateConfig().table, corpus=pages())


def boilerplate_case() -> Artifact:
    config = BoilerplateConfig(enabled=True)
    return boilerplate(config, corpus=pages(), lines=line_tables_case(), duplicates=[url_case()])


def windows_case() -> Artifact:
    return windows(SubstringConfig().window, corpus=pages())


def substring_case() -> Artifact:
    config = SubstringConfig(enabled=True)
    return substring(config, corpus=pages(), windows=windows_case(), verdicts=[], duplicates=[url_case()])


def mixture_by_tokens_case() -> Artifact:
    config = MixtureConfig(enabled=True, unit="tokens", budget=1500, family_weights=FINEWEB2_REHYDRATION)
    return mixture(config, corpus=pages(), duplicates=[url_case()], tokens=[token_counts_case()])


def token_counts_case() -> Artifact:
    """By a tokenizer of words, of no kind that is trained here."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with TemporaryDirectory() as name:
        path = Path(name) / "tokenizer.json"
        tokenizer.save(str(path))
        return count_tokens(NoConfig(), corpus=pages(), tokenizer=adopt_tokenizer(AdoptTokenizerConfig.of(path)))


def mixture_case() -> Artifact:
    config = MixtureConfig(enabled=True, weights={"jsonl": 1.5}, family_weights=FINEWEB2_REHYDRATION)
    return mixture(config, corpus=pages(), duplicates=[url_case()], tokens=[])
