"""Several conversations in one training sequence, each as if it stood alone."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lm.chat.tokens import Conversation
from lm.objectives.causal import IGNORE

NO_CONVERSATION = -1


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Items in bins of `capacity`: the longest first, each into the fullest bin that has room (best fit decreasing).

    Returns the numbers of the items in each bin, in their order; the bins stand in the order of their first items, so
    that the first bins are no longer or shorter than others. Raises ValueError for an item that fits no bin.
    """
    if lengths and max(lengths) > capacity:
        raise ValueError(f"an item of {max(lengths)} in bins of {capacity}")
    bins: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # bins by the room that is left in them
    open_ = np.zeros(capacity + 1, dtype=bool)
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        need = lengths[item]
        room = need + int(open_[need:].argmax())
        if open_[room]:
            chosen = with_room[room].pop()
            open_[room] = bool(with_room[room])
        else:
            chosen, room = len(bins), capacity
            bins.append([])
        bins[chosen].append(item)
        with_room[room - need].append(chosen)
        open_[room - need] = True
    return sorted(sorted(items) for items in bins)


class PackedConversations:
    """Conversations as `Examples` for the trainer, ready for `ConversationObjective`.

    A conversation of n tokens takes n - 1 places of a sequence of at most `context`: at each, a token is read and the
    next one predicted; its last token is read by nobody. A batch holds, all [batch, time] and padded on the right:
    `tokens` int64, what is read; `targets` int64, what is learned, IGNORE elsewhere; `conversations` int64, equal
    within a conversation, -1 for padding; `positions` int64, from 0 in each; `bytes` int64 and `spelling_nats` float64
    of each target. `packing=False`: a sequence for each.
    """

    def __init__(self, conversations: Sequence[Conversation], context: int, packing: bool = True) -> None:
        self.conversations = list(conversations)
        lengths = [len(each) - 1 for each in self.conversations]
        self.rows = pack(lengths, context) if packing else [[number] for number in range(len(lengths))]
        self._sizes = np.array([sum(lengths[number] for number in row) for row in self.rows], dtype=np.int64)
        self.places = int(self._sizes.sum())
        self.learned = sum(int(each.learned.sum()) for each in self.conversations)
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for row in self.rows:
            digest.update(np.array([len(row), *row], dtype="<i8").tobytes())
        for each in self.conversations:
            digest.update(np.array(len(each), dtype="<i8").tobytes())
            digest.update(each.ids.astype("<i8").tobytes() + each.learned.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """The sequences at `indices`, in that order."""
        shape = (len(indices), int(self._sizes[indices].max()))
        arrays: dict[str, np.ndarray] = {
            "tokens": np.zeros(shape, np.int64),
            "targets": np.full(shape, IGNORE, np.int64),
            "conversations": np.full(shape, NO_CONVERSATION, np.int64),
            "positions": np.zeros(shape, np.int64),
            "bytes": np.zeros(shape, np.int64),
            "spelling_nats": np.zeros(shape),
        }
        for row, index in enumerate(indices):
            begin = 0
            for place, number in enumerate(self.rows[index]):
                each = self.conversations[number]
                here = slice(begin, begin := begin + len(each) - 1)
                learned = each.learned[1:]
                arrays["tokens"][row, here] = each.ids[:-1]
                arrays["targets"][row, here] = np.where(learned, each.ids[1:], IGNORE)
                arrays["conversations"][row, here] = place
                arrays["positions"][row, here] = np.arange(len(each) - 1)
                arrays["bytes"][row, here] = each.bytes[1:] * learned
                arrays["spelling_nats"][row, here] = each.spelling_nats[1:] * learned
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
