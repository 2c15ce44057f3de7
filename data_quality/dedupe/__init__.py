"""Exact and near-duplicate documents, with the evidence for every removal.

Read in this order: `shingles` (text to a set of 64-bit shingle hashes), `signatures` (MinHash bands; one shard in,
one out), `exact` (equal texts and equal shingle sets collapse), `candidates` (documents that share a band, grouped
out of core), `verify` (true Jaccard, greedily against kept documents only), `minhash` (`near_dedupe`, the whole).
"""
