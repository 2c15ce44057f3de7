"""Foreign text with signs in place of characters that cannot be seen: for Prefect's pages, and for all ours above."""

# Characters that act instead of showing: they would reorder, hide or break what stands around them.
_ACTING = [
    *range(0x80, 0xA0),
    0x061C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xD800, 0xE000),
    *range(0xFFF9, 0xFFFC),
    0xFEFF,
    0xFFFE,
    0xFFFF,
    *range(0xE0000, 0xE0080),
]
_JOINERS = {0x200C, 0x200D}  # needed by Persian, Hindi and emoji
_VISIBLE: dict[int, str] = {
    **{code: f"⟨U+{code:04X}⟩" for code in _ACTING if code not in _JOINERS},
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: "␡",
}


def visible(text: str) -> str:
    """Text with control, bidirectional and invisible characters replaced by signs that can be seen."""
    return text.replace("\r\n", "\n").translate(_VISIBLE)
