"""What the report shows, as plain data: the stage that gathers it and the page that renders it meet here.

Everything but the run's name may be absent; the page then leaves the section out. Text from documents goes in as it
is (redacted, and cut to an excerpt, by whoever gathers it): the page escapes it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from data_quality.config import StrictModel
from tasks.reports.data_rules import LanguageRow, Mixture, Overlap, SpanKind, ThresholdCurve


class Amount(StrictModel):
    """How much text; a figure that was not counted is None."""

    documents: int | None = Field(None, description="Documents.")
    bytes: int | None = Field(None, description="UTF-8 bytes of text.")
    tokens: int | None = Field(None, description="Tokens of this run's tokenizer.")


class Interval(StrictModel):
    """A figure with its confidence interval, in the figure's own unit."""

    value: float
    low: float
    high: float


class Point(StrictModel):
    """One point of a curve over optimizer steps."""

    step: int
    value: float


# --- 1 headline ------------------------------------------------------------------------------------------------------


class Headline(StrictModel):
    """The strip at the top. Bits per byte and accuracies are taken from `pretraining` and `finetuning`."""

    run: str = Field(description="Name of the flow run.")
    date: str | None = Field(None, description="When the run started, as it is to be read: 2026-11-22 03:00 UTC.")
    config: str | None = Field(None, description="The config file's name.")
    raw: Amount | None = Field(None, description="The corpus as it was read.")
    kept: Amount | None = Field(None, description="The corpus after rules and duplicates; `tokens` are its tokens.")
    drawn: Amount | None = Field(None, description="What the mixture draws of it, each document counted once.")
    seconds: float | None = Field(None, description="Wall-clock time of the whole run. Seconds.")


# --- 2 funnel --------------------------------------------------------------------------------------------------------


class FunnelPart(StrictModel):
    """One branch of a step that divides the corpus: train, valid, test, excluded."""

    name: str
    amount: Amount


class FunnelStep(StrictModel):
    """What one stage left over."""

    name: str = Field(
        description='Short name, read as "after ...": read, normalise, rules, dedupe, split, tokens, mixture.'
    )
    note: str | None = Field(None, description="One line on what the step does, for the reader.")
    into: Amount | None = Field(None, description="What went in; None = what the step before it let out.")
    out: Amount = Field(description="What came out.")
    parts: Sequence[FunnelPart] = Field((), description="The branches, when the step divides what comes out.")


# --- 3 drops, 4 skips ------------------------------------------------------------------------------------------------


class Twin(StrictModel):
    """The document that was kept instead of a duplicate."""

    id: str
    source: str | None = None
    excerpt: str = Field("", description="Beginning of its text.")
    kind: Literal["url", "exact", "near"] = "near"
    jaccard: float | None = Field(None, description="Jaccard similarity of the two shingle sets, 0..1.")


class DropExample(StrictModel):
    """One dropped document and the evidence against it."""

    id: str
    source: str | None = None
    excerpt: str = Field("", description="Beginning of its text.")
    signal: str | None = Field(None, description="The signal that the rule looks at.")
    value: float | str | None = Field(None, description="The signal's value for this document.")
    threshold: float | str | None = Field(None, description="The rule's threshold.")
    keeps_if: str | None = Field(None, description="Operator that a kept document satisfies: >=, <=, >, <, ==.")
    note: str | None = Field(None, description="Other evidence in words: what would be left, what is shared with what.")
    other_reasons: Sequence[str] = Field((), description="Further reasons this document also meets.")
    twin: Twin | None = Field(None, description="For a duplicate: what was kept in its place.")


class DropReason(StrictModel):
    """One reason for which documents were dropped, counted by first reason."""

    name: str = Field(description='As in the decision table: "gopher_quality.gopher_short_doc", "near_duplicate".')
    stage: str | None = Field(None, description="The step that decided: rules, url, dedupe, lines, ..., split.")
    rule: str | None = Field(None, description="The rule in words or as an expression: words >= 50.")
    documents: int = Field(description="Documents whose first reason this is.")
    bytes: int | None = Field(None, description="UTF-8 bytes of those documents.")
    any_documents: int | None = Field(None, description="Documents that meet this reason at all, first or not.")
    examples: Sequence[DropExample] = Field((), description="Two or three documents.")


class SkipExample(StrictModel):
    """One place in the input that could not be read."""

    file: str
    line: int | None = Field(None, description="Line in the file, from 1.")
    record: int | None = Field(None, description="Record in the file, from 1.")
    detail: str = Field("", description="The reader's message.")


class SkipReason(StrictModel):
    """Input that was skipped for one reason."""

    reason: str
    records: int = Field(description="Records (or whole files) skipped.")
    files: int | None = Field(None, description="Different files they lie in.")
    bytes: int | None = Field(None, description="Bytes skipped, where known.")
    examples: Sequence[SkipExample] = ()


# --- 5 sources, 6 lengths and duplicates -----------------------------------------------------------------------------


class SourceRow(StrictModel):
    """One value of the `source` column: what was read, where it went, what was kept.

    What of the raw bytes is in none of the others was taken out of kept texts, or fell away when texts were normalised.
    """

    name: str
    raw_documents: int
    raw_bytes: int
    rules: Amount | None = Field(None, description="Dropped by rules or lists; normalised text.")
    duplicates: Amount | None = Field(None, description="Dropped in favour of a twin.")
    other: Amount | None = Field(None, description="Dropped otherwise: too little left, contaminated, empty.")
    kept_documents: int
    kept_bytes: int


class LengthHistogram(StrictModel):
    """Document lengths, raw against kept, in bins that are usually of equal width in the logarithm."""

    unit: str = Field("characters", description="What is counted per document: characters, words, tokens.")
    edges: Sequence[float] = Field(description="n + 1 rising bin edges, all > 0.")
    raw: Sequence[int] = Field(description="n counts of documents as read.")
    kept: Sequence[int] = Field((), description="n counts of documents kept.")
    raw_median: float | None = None
    kept_median: float | None = None


class FamilySize(StrictModel):
    """How many duplicate families have one size."""

    size: int = Field(description="Documents in the family, the kept one included (>= 2).")
    families: int


class FamilyMember(StrictModel):
    """A dropped member of a duplicate family."""

    id: str
    source: str | None = None
    kind: Literal["url", "exact", "near"] = "near"
    jaccard: float | None = Field(None, description="Similarity to the kept document, 0..1.")


class DuplicateFamily(StrictModel):
    """One kept document and what was dropped in its favour."""

    size: int = Field(description="Documents in the family, the kept one included.")
    kept: str = Field(description="Id of the kept document.")
    kept_source: str | None = None
    excerpt: str = Field("", description="Beginning of the kept document's text.")
    members: Sequence[FamilyMember] = Field((), description="Some of the dropped ones (ten or so).")


class Duplicates(StrictModel):
    """What deduplication found, by text or by address."""

    method: str | None = Field(None, description="MinHash, 14 bands x 8 rows of 5-word shingles, verified at 0.8.")
    url: int | None = Field(None, description="Documents dropped because another has their address.")
    exact: int | None = Field(None, description="Documents dropped as exact duplicates.")
    near: int | None = Field(None, description="Documents dropped as verified near-duplicates.")
    families: int | None = Field(None, description="Families of two or more documents.")
    sizes: Sequence[FamilySize] = ()
    largest: Sequence[DuplicateFamily] = Field((), description="The largest families, largest first.")


# --- 7 pretraining ---------------------------------------------------------------------------------------------------


class Sample(StrictModel):
    """Text that the model wrote at one step of its training."""

    step: int
    prompt: str = ""
    text: str = Field(description="The continuation, without the prompt.")


class Pretraining(StrictModel):
    """The training of the language model. Curves are in bits per byte of UTF-8 text."""

    model: str | None = Field(None, description="Architecture and size preset: gpt2 nano, 4 layers, width 256.")
    parameters: int | None = None
    tokens_seen: int | None = Field(None, description="Training tokens over all steps (repeats counted).")
    heldout: str | None = Field(None, description="What the held-out figures were measured on.")
    pretrained: float | None = Field(None, description="Held-out bits per byte of the trained model.")
    untrained: float | None = Field(None, description="The same of the model before its first step.")
    unigram: float | None = Field(None, description="The same of a unigram model over the same tokens.")
    train: Sequence[Point] = Field((), description="Training bits per byte by step.")
    valid: Sequence[Point] = Field((), description="Validation bits per byte by step.")
    learning_rate: Sequence[Point] = ()
    tokens_per_second: Sequence[Point] = ()
    samples: Sequence[Sample] = Field((), description="Samples at rising steps, best with the same prompts.")
    settings: Mapping[str, str] = Field({}, description="Settings worth reading, in the order to be shown.")


# --- 8 fine-tuning ---------------------------------------------------------------------------------------------------


class SeedScore(StrictModel):
    """Test accuracy of one training run."""

    seed: int
    accuracy: float = Field(description="Share of right answers, 0..1.")


class System(StrictModel):
    """One way of solving the task, over its seeds. Shares are 0..1."""

    name: str = Field(description="pretrained, from scratch, bag of words.")
    role: Literal["pretrained", "scratch", "baseline"]
    seeds: Sequence[SeedScore] = ()
    accuracy: Interval | None = Field(None, description="Mean accuracy over the seeds with its 95 % interval.")
    macro_f1: float | None = Field(None, description="Mean over seeds of the classes' mean F1.")


class Difference(StrictModel):
    """How much better the first system is than the second on the same items. Shares, not points."""

    first: str
    second: str
    accuracy: Interval
    p_value: float | None = Field(None, description="Two-sided.")


class ClassScore(StrictModel):
    """One class of the task, for the pretrained system. Shares are 0..1."""

    label: str
    f1: float
    precision: float | None = None
    recall: float | None = None
    items: int | None = Field(None, description="Test items of this class.")


class ConfidentError(StrictModel):
    """A test item that the pretrained system got wrong while sure of itself."""

    id: str
    text: str
    label: str = Field(description="The right class.")
    predicted: str = Field(description="The class it chose.")
    probability: float = Field(description="The probability it gave to its choice, 0..1.")


class FineTuning(StrictModel):
    """The classification task."""

    task: str | None = Field(None, description="The question in one sentence.")
    train_items: int | None = None
    dev_items: int | None = None
    test_items: int | None = None
    majority: float | None = Field(None, description="Share of the largest class in the test set: the floor, 0..1.")
    interval_method: str | None = Field(None, description="How the intervals were made, for the captions.")
    systems: Sequence[System] = ()
    difference: Difference | None = Field(None, description="Pretrained minus scratch.")
    labels: Sequence[str] = Field((), description="Classes in the order of the confusion matrix.")
    confusion: Sequence[Sequence[int]] = Field((), description="Pretrained system: row = true, column = predicted.")
    confusion_note: str | None = Field(None, description="Which seed(s) the matrix counts.")
    classes: Sequence[ClassScore] = ()
    errors: Sequence[ConfidentError] = Field((), description="Worst first.")
    auxiliary_weight: float | None = Field(None, description="Lambda of L3 = L2 + lambda * L1 (GPT-1, section 3.2).")
    settings: Mapping[str, str] = Field({}, description="Settings worth reading, in the order to be shown.")


# --- 9 stages, environment, lineage ----------------------------------------------------------------------------------


class StageRow(StrictModel):
    """One stage of this run, in the order they ran."""

    name: str
    state: str = Field("built", description='"built", "resumed" or "cached".')
    seconds: float | None = Field(None, description="Seconds this run spent on it.")
    build_seconds: float | None = Field(None, description="For a cached stage: what building it once took. Seconds.")
    peak_bytes: int | None = Field(None, description="Largest resident memory of the processes that built it. Bytes.")
    disk_bytes: int | None = Field(None, description="Size of its artifact. Bytes.")
    key: str | None = Field(None, description="The artifact's key.")


class LineageNode(StrictModel):
    """One artifact and the artifacts it was made from."""

    key: str = Field(description="The artifact's key, unique in the list.")
    stage: str
    digest: str | None = Field(None, description="Content digest of its files.")
    note: str | None = Field(None, description="Short: 17,301 documents; 3.2 M parameters.")
    inputs: Sequence[str] = Field((), description="Keys of its inputs; one that is not in the list is shown by name.")


class Command(StrictModel):
    """A command with which to look further."""

    command: str
    says: str = Field(description="What it shows, in a few words.")


class ReportData(StrictModel):
    """Everything on the page, in the page's order."""

    headline: Headline
    funnel: Sequence[FunnelStep] = ()
    drops: Sequence[DropReason] = Field((), description="In any order; shown by documents, most first.")
    overlap: Overlap | None = None
    curves: Sequence[ThresholdCurve] = Field((), description="Of the rules that fire most, most first.")
    skips: Sequence[SkipReason] = ()
    sources: Sequence[SourceRow] = Field((), description="All of them; the page shows the largest and sums the rest.")
    languages: Sequence[LanguageRow] = ()
    lengths: Sequence[LengthHistogram] = ()
    addresses: Duplicates | None = Field(None, description="Families of documents that have one address.")
    duplicates: Duplicates | None = Field(None, description="Families of documents with equal or similar texts.")
    spans: Sequence[SpanKind] = ()
    mixture: Mixture | None = None
    pretraining: Pretraining | None = None
    finetuning: FineTuning | None = None
    stages: Sequence[StageRow] = ()
    environment: Mapping[str, str] = Field({}, description="Machine, versions, threads; in the order to be shown.")
    lineage: Sequence[LineageNode] = Field((), description="Inputs before what is made from them.")
    commands: Sequence[Command] = ()
