"""Near-dedupe as its well-known users set it: shingles, bands x rows, and the similarity each of them aims at.

Nearly all of them remove every pair that shares a band, unverified. Here every pair is verified against the threshold
whatever the preset: that is our difference, and the reason why a preset has one.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # datatrove minhash.py; the FineWeb paper (2406.17557, section 3.4) aims at "at least 75 % similar"
    "fineweb": {"unit": "word", "size": 5, "bands": 14, "rows": 8, "threshold": 0.75},
    # Written "20 buckets of 450 hashes" in the paper (2306.01116). Taken as 20 bands of 450 rows, two documents of
    # Jaccard 0.8 would never meet; it is 450 bands of 20 rows, as in Lee et al. 2022, who verify at 0.8.
    "refinedweb": {"unit": "word", "size": 5, "bands": 450, "rows": 20, "threshold": 0.8},
    # DCLM (2406.11794), its MinHash comparison; bands and rows at second hand, and five words is our assumption
    "dclm": {"unit": "word", "size": 5, "bands": 93, "rows": 15, "threshold": 0.8},
    # MAP-CC / MAP-NEO generate_minhash.py: datasketch's optimum for 128 hashes at 0.8
    "map_cc": {"unit": "character", "size": 13, "bands": 9, "rows": 13, "threshold": 0.8},
    # NeMo Curator's fuzzy dedupe workflow
    "curator": {"unit": "character", "size": 24, "bands": 20, "rows": 13, "threshold": 0.8},
    # 13-grams at 0.8, at second hand; bands as datasketch chooses them for 128 hashes
    "slimpajama": {"unit": "word", "size": 13, "bands": 9, "rows": 13, "threshold": 0.8},
    # RedPajama-Data v2, rp_v2.0.conf
    "rpv2_0.7": {"unit": "word", "size": 13, "bands": 14, "rows": 9, "threshold": 0.7},
    "rpv2_0.8": {"unit": "word", "size": 13, "bands": 9, "rows": 13, "threshold": 0.8},
    "rpv2_0.9": {"unit": "word", "size": 13, "bands": 5, "rows": 25, "threshold": 0.9},
    # marin-community/marin#7591, which verifies as well; 0.75 is where its curve is steepest
    "marin": {"unit": "word", "size": 5, "bands": 26, "rows": 11, "threshold": 0.75},
}
