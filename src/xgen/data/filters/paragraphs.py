"""A text as pieces that join to the same text: paragraphs, or lines where each line stands for itself."""

import re

MAX_CHARACTERS = 4000  # a longer paragraph is cut at line ends, so that no verdict covers a whole book

_BLANK = re.compile(r"\n[ \t\r]*\n\s*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def paragraphs_of(text: str) -> list[str]:
    """The paragraphs of a text, each with the blank lines that follow it."""
    pieces: list[str] = []
    start = 0
    for end in [*(match.end() for match in _BLANK.finditer(text)), len(text)]:
        if end - start > MAX_CHARACTERS:
            pieces += _cut(text[start:end])
        elif end > start:
            pieces.append(text[start:end])
        start = end
    return pieces


def lines_of(text: str) -> list[str]:
    """The lines of a text, each with its line end."""
    return _LINE.findall(text)


def _cut(paragraph: str) -> list[str]:
    pieces: list[str] = []
    room = 0
    for line in lines_of(paragraph):
        if room >= len(line):
            pieces[-1] += line
        else:
            pieces.append(line)
            room = MAX_CHARACTERS
        room -= len(line)
    return pieces
