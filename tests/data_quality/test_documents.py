import hashlib
import json
import random

import pyarrow.parquet as pq
import pytest

from data_quality.documents import (
    SCHEMA,
    Document,
    IdCollision,
    ShardWriter,
    documents_digest,
    find_id_collisions,
    iter_documents,
    read_shard,
)
from data_quality.hashing import combine_digests


def some_documents(count, seed=0):
    generator = random.Random(seed)
    return [
        Document(
            f"doc-{number}",
            "".join(generator.choices("ab \n 中é", k=generator.randrange(1, 60))),
            f"source-{number % 3}",
            [None, "en"][number % 2],
            {"b": number, "a": "x"} if number % 4 else {},
        )
        for number in range(count)
    ]


def write_all(directory, documents, **limits):
    with ShardWriter(directory, **limits) as writer:
        for document in documents:
            writer.add(document)
    return [directory / shard.name for shard in writer.shards]


def independent_digest(documents):
    total = 0
    for document in documents:
        metadata = json.dumps(dict(sorted(document.metadata.items())), separators=(",", ":"), ensure_ascii=False)
        hashed = hashlib.blake2b(document.text.encode("utf-8"), digest_size=16).hexdigest()
        row = [document.id, hashed, document.source, document.language, metadata]
        canonical = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
        total += int(hashlib.sha256(canonical.encode("utf-8")).hexdigest(), 16)
    return f"{total % 2**256:064x}"


@pytest.mark.parametrize("limits", [{}, {"max_rows": 7}, {"max_bytes": 200}, {"max_rows": 1}])
def test_digest_is_that_of_the_set_of_documents_whatever_order_and_shards(tmp_path, limits):
    documents = some_documents(100)
    expected = independent_digest(documents)
    random.Random(1).shuffle(documents)
    paths = write_all(tmp_path, documents, **limits)
    assert combine_digests(documents_digest(path) for path in reversed(paths)) == expected
    assert combine_digests(documents_digest(read_shard(path)) for path in paths) == expected


def test_writer_reports_what_it_wrote(tmp_path):
    with ShardWriter(tmp_path, max_rows=10) as writer:
        for document in some_documents(35):
            writer.add(document)
    for shard in writer.shards:
        table = read_shard(tmp_path / shard.name)
        assert table.schema.equals(SCHEMA)
        assert shard.rows == table.num_rows <= 10
        assert shard.bytes == sum(len(text.encode()) for text in table["text"].to_pylist())
        assert shard.digest == documents_digest(table)


@pytest.mark.parametrize("change", ["text", "source", "language", "metadata", "id"])
def test_digest_sees_every_column(tmp_path, change):
    one = Document("i", "t", "s", "en", {"k": 1})
    other = Document(
        **{
            name: getattr(one, name) if name != change else {"metadata": {"k": 2}}.get(name, "x")
            for name in ("id", "text", "source", "language", "metadata")
        }
    )
    digests = {documents_digest(*write_all(tmp_path / str(n), [d])) for n, d in enumerate((one, other))}
    assert len(digests) == 2


def test_documents_come_back_as_they_went_in(tmp_path):
    documents = some_documents(50)
    assert list(iter_documents(write_all(tmp_path, documents, max_rows=20))) == documents


def test_an_inserted_document_moves_few_shard_boundaries(tmp_path):
    documents = some_documents(3000)
    before = write_all(tmp_path / "before", documents, max_rows=100)
    after = write_all(tmp_path / "after", [Document("new", "text", "s"), *documents], max_rows=100)
    assert len(before) > 30
    digests = [{documents_digest(path) for path in paths} for paths in (before, after)]
    assert len(digests[1] - digests[0]) <= len(before) // 3


def test_row_groups_are_small(tmp_path):
    (path,) = write_all(tmp_path, some_documents(4500))
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2000, 2000, 500]


def test_an_interrupted_shard_leaves_nothing_under_its_name(tmp_path):
    def interrupted():
        with ShardWriter(tmp_path, max_rows=10_000) as writer:
            for document in some_documents(2500):
                writer.add(document)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_collisions_name_both_shards(tmp_path):
    one = write_all(tmp_path / "one", [Document("same", "a", "s"), Document("x", "b", "s")])
    two = write_all(tmp_path / "two", [Document("y", "c", "s"), Document("same", "a", "s")])
    (collision,) = find_id_collisions([*one, *two])
    assert collision == IdCollision("same", 2, (str(one[0]), str(two[0])))
    assert find_id_collisions(one) == find_id_collisions([]) == []


def test_metadata_that_json_cannot_hold_is_written_as_text(tmp_path):
    import datetime

    (path,) = write_all(tmp_path, [Document("i", "t", "s", None, {"day": datetime.date(2026, 1, 2)})])
    (document,) = iter_documents(path)
    assert document.metadata == {"day": "2026-01-02"}
