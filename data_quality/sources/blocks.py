"""The text of a document out of its blocks: paragraphs, items of lists, rows of tables."""

from typing import Literal

Kind = Literal["paragraph", "item", "row"]


class Blocks:
    """Gathers blocks up to ``max_bytes`` of UTF-8; ``size`` counts what came beyond, which is not held."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.size = 0
        self._blocks: list[tuple[Kind, str]] = []
        self._tables: list[list[list[str]]] = []  # open tables; of each the cells of its row, each with its paragraphs

    def count(self, text: str) -> bool:
        """Count text that is to become part of a block; False when it is beyond the limit and must not be held."""
        self.size += len(text.encode(errors="replace"))
        return self.size <= self._max_bytes

    def add(self, kind: Kind, text: str) -> None:
        """A block, or a paragraph of the cell that is open. Blank ones are dropped."""
        if not text.strip():
            return
        if self._tables and self._tables[-1]:
            self._tables[-1][-1].append(" ".join(text.split()))
        else:
            self._blocks.append((kind, text))

    def start_table(self) -> None:
        """A table begins, perhaps within a cell of another."""
        self._tables.append([])

    def start_cell(self) -> None:
        """A cell begins; one outside of a table is none."""
        if self._tables:
            self._tables[-1].append([])

    def end_row(self, keep: bool = True) -> None:
        """The cells since the last row become a row, a tab between them."""
        if self._tables:
            cells, self._tables[-1] = self._tables[-1], []
            row = "\t".join(" ".join(cell) for cell in cells).rstrip("\t")
            if keep and row.strip():
                outer = len(self._tables) > 1 and self._tables[-2]
                if outer:
                    outer[-1].append(" ".join(row.split()))
                else:
                    self._blocks.append(("row", row))

    def end_table(self) -> None:
        """The innermost table ends."""
        if self._tables:
            self.end_row()
            self._tables.pop()

    def extend(self, other: "Blocks") -> None:
        """The blocks of another, behind these."""
        self.size += other.size
        if self.size <= self._max_bytes:
            self._blocks += other._blocks

    def text(self) -> str:
        """Paragraphs with an empty line between them; items and rows each on a line."""
        parts: list[str] = []
        before: Kind | None = None
        for kind, text in self._blocks:
            if parts:
                parts.append("\n" if kind == before != "paragraph" else "\n\n")
            parts.append(text)
            before = kind
        return "".join(parts)
