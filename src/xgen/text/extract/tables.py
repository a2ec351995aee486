"""Tables as text: one row a line, cells parted by " | "."""

from collections.abc import Sequence

LAYOUT_CELL_CHARACTERS = 1000  # a table with such a cell arranges a page and is read cell by cell


BAR = " | "


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; white space in cells collapsed, rows and columns without text left out."""
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    width = max((len(row) for row in cells), default=0)
    kept = [i for i in range(width) if any(row[i] for row in cells if i < len(row))]
    lines = []
    for row in cells:
        if any(row):
            line = BAR.join(row[i] if i < len(row) else "" for i in kept)
            lines.append(" ".join(line.split()))
    return lines


def is_layout(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table arranges a page rather than data: it has a cell as long as a page's column."""
    return any(len(cell) > LAYOUT_CELL_CHARACTERS for row in rows for cell in row)


def joined(lines: Sequence[str]) -> str:
    """Lines to text: no white space at line ends, never two blank lines, none at either end."""
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1]):
            kept.append(line.rstrip())
    return "\n".join(kept).strip("\n")
