"""Page headers, footers and page numbers, recognised because they return from page to page."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xgen.text.extract.layout import Row, has_gap, row_text

MARGIN = 0.12  # of the page's height, above and below: where running lines stand
N_MARGIN_ROWS = 3
WINDOW_PAGES = 4  # before and after: headers change with the chapter and alternate from left to right

_NUMBER = re.compile(r"[0-9]{1,6}|^[ivxlc]+$|^[ivxlc]+(?= )|(?<= )[ivxlc]+$")


@dataclass(frozen=True)
class _Signature:
    """What a row in a margin may share with those of other pages, and how it is told of."""

    shared: tuple[str, int, int, int]  # words, a number less that of the page, height, size
    text: str


def running_rows(pages: Sequence[tuple[Sequence[Row], float, float]]) -> dict[tuple[int, int], str]:
    """(page, row) of the running lines: what they say, with "#" for a number that counts the pages.

    `pages` are the rows of each page with the heights of its lower and upper edge. A line runs if on three
    pages nearby (two in a document of up to six) the same stands at the same height in the same size, or the
    same but for a number that counts the pages; if only running lines stand between it and the edge; and if
    it stands apart from the text. The head of a table that goes on over pages does not run.
    """
    found: dict[tuple[str, int, int, int], set[int]] = defaultdict(set)
    margins: list[tuple[int, list[tuple[int, list[_Signature]]]]] = []  # page, its rows from the edge inwards
    for i, (rows, bottom, top) in enumerate(pages):
        for inwards in (range(len(rows)), range(len(rows))[::-1]):
            margin: list[tuple[int, list[_Signature]]] = []
            for j in list(inwards)[:N_MARGIN_ROWS]:
                height = (rows[j][0].y - bottom) / max(top - bottom, 1)
                if not (height > 1 - MARGIN if inwards.step > 0 else height < MARGIN):
                    break
                margin.append((j, list(_signatures(rows[j], i, is_outermost=not margin))))
                for signature in margin[-1][1]:
                    found[signature.shared].add(i)
            margins.append((i, margin))
    needed = min(3, max(2, math.ceil(len(pages) / 3)))
    running = {}
    for i, margin in margins:
        block = []
        for j, signatures in margin:
            shared = [(_n_near(found[s.shared], i), s.text) for s in signatures]
            most, text = max(shared, default=(0, ""))
            if most < needed:
                break
            block.append((j, text))
        rows = pages[i][0]
        while block and not _stands_apart(rows, block):
            block.pop()
        running.update({(i, j): text for j, text in block})
    return running


def _n_near(pages: set[int], page: int) -> int:
    return sum(abs(other - page) <= WINDOW_PAGES for other in pages)


def _signatures(row: Row, page: int, is_outermost: bool) -> Iterator[_Signature]:
    """Its words; its words but for a number; a number that stands for itself at its end."""
    text, place = row_text(row), (round(row[0].y), round(row[0].size))
    if re.search(r"[^\W\d_]", text):
        yield _Signature((text, 0, *place), text)
    for number in _NUMBER.finditer(text):
        left, right = text[: number.start()], text[number.end() :]
        at_page = int(number[0]) - page if number[0].isdecimal() else -1  # Roman: not compared
        yield _Signature((f"{left}#{right}", at_page, *place), f"{left}#{right}")
        if is_outermost and has_gap(row) and not (left and right):
            yield _Signature(("#", at_page, *place), f"{left}#{right}")


def _stands_apart(rows: Sequence[Row], block: Sequence[tuple[int, str]]) -> bool:
    """Whether the innermost row of a block of running lines is farther from the text than its lines are."""
    j = block[-1][0]
    inner = j + 1 if block[0][0] == 0 else j - 1
    if not 0 <= inner < len(rows):
        return True
    distance = abs(rows[j][0].y - rows[inner][0].y) / rows[j][0].size
    if inner > j and has_gap(rows[j]) and has_gap(rows[inner]):
        return distance > 2.2  # else the head of a table
    return distance > 1.4
