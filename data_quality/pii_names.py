"""Names without personal data: ids of documents, sources, files, and the fields of metadata.

A name must stay one: equal names equal, different names different. So a value in it becomes its category and a hash.
"""

import hashlib
import re

from data_quality.config import PiiConfig
from data_quality.pii import Replacer, find_pii
from data_quality.spans import Edit, apply_edits

MAYBE = re.compile(r"[@＠]|:[0-9A-Fa-f]{0,4}:|(?:[0-9０-９][^0-9０-９]{0,3}){5}|[0-9０-９](?:\.[0-9０-９]){3}")
"""Every category has an @, two colons, five digits or an address of four; most names and metadata have none of them."""

_DIGEST_BYTES = 10  # of ten million names, two that come out equal have a chance below 10^-10


class Pseudonyms:
    """Replaces each piece of personal data in a name, such as `jane@example.org/3` by `<email:0f3a...>/3`.

    What stands there depends on category and value alone, and on the key of style `hashed`. Without a key, whoever
    guesses a value can see that it is there.
    """

    def __init__(self, config: PiiConfig, key: bytes | None = None) -> None:
        """Raises UsageError for style `hashed` without a key."""
        Replacer(config, key)
        self._config, self._key = config, key

    def __call__(self, name: str) -> str:
        """The name that stands for `name`: the same, where it holds no personal data."""
        if not MAYBE.search(name):
            return name
        spans = find_pii(name, self._config, self._key)
        return apply_edits(name, [Edit(s.start, s.end, self._hashed(s.category, name[s.start : s.end])) for s in spans])

    def _hashed(self, category: str, value: str) -> str:
        message, key = f"{category}\0{value}".encode(), (self._key or b"")[:64]
        return f"<{category}:{hashlib.blake2b(message, digest_size=_DIGEST_BYTES, key=key).hexdigest()}>"
