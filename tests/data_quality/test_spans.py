"""Spans: merged whatever their order, and applied without losing or leaking a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_quality.spans import Edit, apply_edits, merge_edits

TEXT = "0123456789" * 4
edits = st.lists(
    st.builds(
        lambda a, b, r: Edit(min(a, b), max(a, b) + 1, r),
        st.integers(0, len(TEXT) - 1),
        st.integers(0, len(TEXT) - 1),
        st.sampled_from(["", "<x>", "<y>"]),
    ),
    max_size=8,
)


@given(edits, st.randoms())
def test_every_covered_character_goes_and_every_other_stays(found, random):
    covered = {at for edit in found for at in range(edit.start, edit.end)}
    merged = merge_edits(found)
    left = apply_edits(TEXT, [edit._replace(replacement="") for edit in merged])
    assert left == "".join(c for at, c in enumerate(TEXT) if at not in covered)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert merge_edits(shuffled) == merged


def test_a_removal_that_covers_a_replacement_leaves_nothing():
    assert merge_edits([Edit(2, 20), Edit(5, 9, "<email>")]) == [Edit(2, 20, "")]


def test_overlapping_replacements_show_the_first():
    assert merge_edits([Edit(4, 9, "<b>"), Edit(1, 6, "<a>")]) == [Edit(1, 9, "<a>")]


def test_a_removal_that_only_overlaps_a_replacement_leaves_it():
    assert merge_edits([Edit(0, 6), Edit(4, 9, "<email>")]) == [Edit(0, 9, "<email>")]


def test_touching_edits_stay_apart():
    assert apply_edits("abcdef", merge_edits([Edit(0, 2, "X"), Edit(2, 4, "Y")])) == "XYef"


@pytest.mark.parametrize("edits", [[Edit(3, 5), Edit(1, 2)], [Edit(0, 99)], [Edit(4, 2)]])
def test_spans_of_another_text_are_refused(edits):
    with pytest.raises(ValueError, match="belong to another text"):
        apply_edits("abcdef", edits)
