"""The hashes of the library: stable across machines, processes and Python versions."""

import hashlib
from collections.abc import Iterable
from typing import BinaryIO

DIGEST_MODULUS = 1 << 256


def text_hash(text: str) -> str:
    """BLAKE2b-128 of the UTF-8 text, 32 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def unit_hash(name: str) -> float:
    """A number in [0, 1) that depends on ``name`` only; says where content-defined cuts fall."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / (1 << 48)


def sha256_stream(stream: BinaryIO) -> str:
    """SHA-256 of what is left in ``stream``, 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def combine_digests(digests: Iterable[str]) -> str:
    """Sum of hex digests modulo 2^256, 64 hex digits: the digest of a multiset, whatever the order."""
    return f"{sum(int(digest, 16) for digest in digests) % DIGEST_MODULUS:064x}"
