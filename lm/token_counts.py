"""How many tokens each document has, for whoever needs the numbers and not the tokens.

`lm.tokens` wants a tokenizer that a model of ours can be trained with; counting does with any that the `tokenizers`
library reads, so that a corpus can be measured by the tokenizer of a model that is trained elsewhere.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lm.tokenizer import encode_documents, read_tokenizer

COUNTS_SCHEMA = pa.schema([("id", pa.string()), ("tokens", pa.int32())])


def count_shard(documents: Path, out: Path, tokenizer_file: Path) -> dict[str, int]:
    """Write `out` (Parquet: id, tokens) for a documents shard (Parquet with `id` and `text`), in its order.

    Special tokens are no text and not counted. Returns {documents, tokens}. Raises FileNotFoundError or ValueError for
    a file that is no tokenizer, and TokenizerFault for a text that it cannot encode.
    """
    tokenizer = read_tokenizer(tokenizer_file, kept=True)
    partial = out.with_name(f"{out.name}.tmp")
    documents_, tokens = 0, 0
    with pq.ParquetFile(documents) as source, pq.ParquetWriter(partial, COUNTS_SCHEMA, compression="zstd") as writer:
        for batch in source.iter_batches(batch_size=1000, columns=["id", "text"]):
            lengths = [len(ids) for ids in encode_documents(tokenizer, batch.column("text").to_pylist())]
            columns = [batch.column("id"), pa.array(lengths, pa.int32())]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=COUNTS_SCHEMA))
            documents_ += len(lengths)
            tokens += sum(lengths)
    os.replace(partial, out)
    return {"documents": documents_, "tokens": tokens}
