"""Exact and near-duplicate documents, with the evidence for every removal.

Read in this order: `shingles` (text to a set of 64-bit shingle hashes), `signatures` (MinHash bands; one shard in,
one out), `keep` (which document is wanted most), `exact` (equal texts and equal shingle sets collapse), `candidates`
(documents that share a band), `verify` (true Jaccard, greedily against kept documents only), `minhash` (`near_dedupe`,
the whole), `incremental` (what of an earlier result still stands).

Beside these: `url` (documents of one address), `lines` (boilerplate), and `substring` (long pieces that two documents
share), which reads as `windows` (a text as hashes of n tokens), `repeats` (those that come twice) and `matches`
(joined, and verified in the real texts). `evidence` has the schemas that all of them write.
"""
