"""Tokens in, models out: tokenizers, models, objectives and one trainer, usable alone from a notebook."""

import os

# torch's matrix products in bf16 keep what they compiled for each shape, up to 1,024 of them in each of two caches
# (oneDNN's and ideep's), megabytes each: batches of texts of any length come to gigabytes in a process that trains
# again and again. Both read this once, before the first product.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "128")
