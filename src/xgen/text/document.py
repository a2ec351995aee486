"""A document: its text, and where in the original each part of it stands."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where something stands, counted from 1; None where the format has no such thing."""

    page: int | None
    line: int | None


@dataclass(frozen=True)
class Document:
    """The text of a file. Every index anywhere in the package is an offset into `text`.

    For plain text and Markdown `text` is the decoded file, unchanged; for other formats it is what
    was extracted.
    """

    path: str  # as the user named it ("-" for standard input)
    text: str
    page_starts: tuple[int, ...] = ()  # offset at which page i + 1 begins; () if the format has no pages
    has_lines: bool = True  # whether a line number means something in this format
    dropped: tuple[str, ...] = ()  # what of the original is not in `text`, in sentences

    def place(self, start: int) -> Place:
        """Page and line of the character at offset `start`.

        Lines are those of `text`, counted on the page where there are pages, else from the beginning.
        """
        page = bisect_right(self.page_starts, start) if self.page_starts else None
        page_start = self.page_starts[page - 1] if page else 0
        return Place(page, 1 + _line_breaks(self.text[page_start:start]) if self.has_lines else None)


def _line_breaks(text: str) -> int:
    """Line ends in `text`: LF, CRLF or a lone CR."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
