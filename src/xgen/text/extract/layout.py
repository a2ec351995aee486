"""Words on a page to lines in reading order: columns one after the other, tables row by row.

A run of lines that all leave the same vertical strip free has a gutter. If what stands on either side of
it reads like prose, the sides are columns; if they hold short pieces, the run is a table. Both are cut out
and what is above, below and beside is laid out the same way. Lengths are in points, y grows upwards.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from xgen.text.extract.sheets import are_sheets
from xgen.text.extract.tables import BAR, table_lines

MIN_GUTTER = 0.9  # of the line height; a word space is 0.2 to 0.5 of it, also in justified text
ALIGNED = 0.5  # points within which words begin at one edge
MIN_TABLE_ROWS = 3  # at the end of a run of columns, for it to be cut off
MAX_CELL_LINES = 6  # of a table; more, and what follows is another table
MAX_WORDS = 20_000  # of a page; one with more is no page of text, and searching it takes too long

_LIST_MARK = re.compile(r"[-*+•‣▪◦●○–—·]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_SENTENCE_END = (".", "!", "?", ":", "。", "！", "？", "؟", "”", '"', ")")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Word:
    """A word as it stands on the page."""

    text: str
    x0: float
    x1: float
    y: float  # of the baseline
    size: float  # line height of its font
    index: int  # place in the order in which the page was written
    glued: bool = False  # no space between it and the word written before


Row = list[Word]  # words on one baseline


@dataclass(frozen=True)
class Run:
    """Rows first..last of a region, all of which leave the strip low..high free."""

    first: int
    last: int
    low: float
    high: float


def rows_of(words: Sequence[Word]) -> list[Row]:
    """Words put together by baseline, from the top down, each row from left to right."""
    rows: list[Row] = []
    for word in sorted(words, key=lambda w: (-w.y, w.x0)):
        if rows and abs(rows[-1][0].y - word.y) <= 0.35 * max(rows[-1][0].size, word.size):
            rows[-1].append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda w: w.x0) for row in rows]


def row_text(row: Sequence[Word]) -> str:
    """The words of one row with spaces; in the order of writing where the script runs leftwards."""
    letters = "".join(word.text for word in row)
    if 2 * len(_RIGHT_TO_LEFT.findall(letters)) > len(letters):
        return " ".join(word.text for word in sorted(row, key=lambda w: w.index))
    text = ""
    for previous, word in zip([None, *row], row, strict=False):
        glued = previous is not None and word.glued and previous.index + 1 == word.index
        text += ("" if previous is None or glued else " ") + word.text
    return text


def has_gap(row: Row) -> bool:
    """Whether the words of a row stand apart like cells of a table."""
    return bool(_gaps(row, MIN_GUTTER * max(word.size for word in row)))


def page_lines(words: Sequence[Word]) -> list[str]:
    """Lines of a page's words in reading order; an empty line between paragraphs, columns and tables."""
    if not words:
        return []
    rows = rows_of(words)
    em = median(word.size for word in words)
    columns: Run | None = None
    table: Run | None = None
    if len(words) <= MAX_WORDS:
        runs = list(_runs(rows, MIN_GUTTER * em))
        columns = _longest(
            _columns(rows, run) or (run if _are_sheets(rows, run, MIN_GUTTER * em) else None) for run in runs
        )
        if columns is None:
            table = _longest(_trimmed(rows, run) for run in runs)
    run = columns or table
    if run is None:
        return _paragraphs(rows)
    above, inside, below = rows[: run.first], rows[run.first : run.last + 1], rows[run.last + 1 :]
    if columns:
        left, right = _sides(inside, run)
        middle = [*page_lines(_flat(left)), "", *page_lines(_flat(right))]
    else:
        middle = _table(inside, MIN_GUTTER * em)
    return [*page_lines(_flat(above)), "", *middle, "", *page_lines(_flat(below))]


def _longest(runs: Iterable[Run | None]) -> Run | None:
    return max(filter(None, runs), key=lambda run: run.last - run.first, default=None)


def _flat(rows: Sequence[Row]) -> list[Word]:
    return [word for row in rows for word in row]


# ---- gutters ---------------------------------------------------------------------------------------


def _gaps(row: Row, least: float) -> list[Interval]:
    """Free intervals of at least `least` between the words of a row."""
    gaps = []
    end = row[0].x1
    for word in row[1:]:
        if word.x0 - end >= least:
            gaps.append((end, word.x0))
        end = max(end, word.x1)
    return gaps


def _runs(rows: Sequence[Row], least: float) -> Iterator[Run]:
    """Every run of rows around every gap: as far up and down as some `least` of it stays free."""
    free = [
        [(float("-inf"), row[0].x0), *_gaps(row, least), (max(word.x1 for word in row), float("inf"))]
        for row in rows
    ]
    seen: set[tuple[int, int, int]] = set()
    for i in range(len(rows)):
        for gap in free[i][1:-1]:
            (low, high), last = _extended(free[i + 1 :], gap, least)
            (low, high), first = _extended(free[:i][::-1], (low, high), least)
            run = Run(i - first, i + last, low, high)
            key = (run.first, run.last, round(low))
            if key not in seen:
                seen.add(key)
                yield run


def _extended(free: Sequence[Sequence[Interval]], gap: Interval, least: float) -> tuple[Interval, int]:
    """`gap` narrowed to what is free in the following rows too, and how many of them there are."""
    for n, intervals in enumerate(free):
        narrowed = max(
            ((max(gap[0], a), min(gap[1], b)) for a, b in intervals), key=lambda common: common[1] - common[0]
        )
        if narrowed[1] - narrowed[0] < least:
            return gap, n
        gap = narrowed
    return gap, len(free)


def _sides(rows: Sequence[Row], run: Run) -> tuple[list[Row], list[Row]]:
    left, right = zip(*(_sides_of(row, run) for row in rows), strict=True)
    return [part for part in left if part], [part for part in right if part]


# ---- columns ---------------------------------------------------------------------------------------


def _columns(rows: Sequence[Row], run: Run) -> Run | None:
    """The part of a run that is two columns of text, None if there is none.

    Both sides read as prose, or one does and the lines of the other, a list of contents, do not stand level
    with its lines as those of a table would. A table over both columns, above or below them, whose gaps
    lie where the gutter does is cut off.
    """
    left, right = _sides(rows[run.first : run.last + 1], run)
    if min(len(left), len(right)) < 3:
        return None
    n_prose = _reads_as_prose(left) + _reads_as_prose(right)
    if n_prose < 2 and (n_prose == 0 or _n_level(left, right) > 0.7 * min(len(left), len(right))):
        return None
    half_left, half_right = 0.6 * _width(left), 0.6 * _width(right)
    is_short = []
    for row in rows[run.first : run.last + 1]:
        a, b = _sides_of(row, run)
        is_short.append(_filled(a) < half_left and _filled(b) < half_right)
    n_above = is_short.index(False) if False in is_short else 0
    n_below = is_short[::-1].index(False) if False in is_short else 0
    return Run(
        run.first + (n_above if n_above >= MIN_TABLE_ROWS else 0),
        run.last - (n_below if n_below >= MIN_TABLE_ROWS and n_prose == 2 else 0),
        run.low,
        run.high,
    )


def _are_sheets(rows: Sequence[Row], run: Run, least: float) -> bool:
    """Whether the sides of a run are blocks with the same labels (sheets.py)."""
    left, right = zip(*(_sides_of(row, run) for row in rows[run.first : run.last + 1]), strict=True)
    firsts = [{row[0].text for row in side if row} for side in (left, right)]
    if not firsts[0] & firsts[1]:
        return False  # as of most runs by far, and told in a tenth of the time
    return are_sheets([_pieces(row, least) for row in left], [_pieces(row, least) for row in right])


def _pieces(row: Row, least: float) -> list[str]:
    """The texts of a row's words between its wide gaps."""
    return _with_bars(row, least).split(BAR) if row else []


def _sides_of(row: Row, run: Run) -> tuple[Row, Row]:
    return [word for word in row if word.x1 <= run.low], [word for word in row if word.x1 > run.low]


def _width(side: Sequence[Row]) -> float:
    return max(row[-1].x1 for row in side) - min(row[0].x0 for row in side)


def _filled(row: Row) -> float:
    return sum(word.x1 - word.x0 for word in row)


def _n_level(left: Sequence[Row], right: Sequence[Row]) -> int:
    """How many lines of the shorter side have one at their very height on the other."""
    fewer, more = sorted((left, right), key=len)
    return sum(any(abs(row[0].y - other[0].y) < 0.08 * row[0].size for other in more) for row in fewer)


def _reads_as_prose(side: Sequence[Row]) -> bool:
    texts = [row_text(row) for row in side]
    ideographic = median(len(_IDEOGRAPHS.findall(text)) for text in texts)
    if ideographic < 10 and (
        median(len(text) for text in texts) < 25 or median(text.count(" ") for text in texts) < 3
    ):
        return False
    return median(row[-1].x1 - row[0].x0 for row in side) > 0.6 * _width(side)


# ---- tables ----------------------------------------------------------------------------------------


def _trimmed(rows: Sequence[Row], run: Run) -> Run | None:
    """The longest part of a run that is a table, None if there is none.

    It begins and ends with cells on both sides of the gutter, two at least, and few rows between have
    them on one side only, as where a cell has several lines. A gap behind the marks of a list makes no table.
    """
    both = [
        i for i in range(run.first, run.last + 1) if rows[i][0].x1 <= run.low and rows[i][-1].x1 > run.low
    ]
    parts: list[list[int]] = [[]]
    for i in both:
        if parts[-1] and i - parts[-1][-1] > MAX_CELL_LINES:
            parts.append([])
        parts[-1].append(i)
    longest = max(parts, key=len)
    firsts = [row_text([word for word in rows[i] if word.x1 <= run.low]) for i in longest]
    if len(longest) < 2 or all(_LIST_MARK.fullmatch(text) for text in firsts):
        return None
    # The last row's cells may go on below; nothing stands under its first cell then.
    edge = min(rows[i][0].x0 for i in longest)
    last = longest[-1]
    while last < run.last and rows[last + 1][0].x0 > edge + rows[last][0].size:
        if rows[last][0].y - rows[last + 1][0].y > 1.4 * rows[last][0].size:
            break
        last += 1
    return Run(longest[0], last, run.low, run.high)


def _table(rows: Sequence[Row], least: float) -> list[str]:
    """A line per row of a table; lines that only go on in a cell are added to their row."""
    starts = _column_starts(rows, least)
    lines = [_cells(row, starts, least) for row in rows]
    pitches = [above[0].y - row[0].y for above, row in pairwise(rows)]
    narrow = 1.25 * min(pitches)
    spaced = max(pitches) > 1.4 * min(pitches)  # rows are set apart from the lines within them
    begins = [0, *(i for i, pitch in enumerate(pitches, 1) if pitch > narrow)]
    headings = set(_headings(lines, begins)) if spaced else set()
    table, ready = list[list[str]](), list[str]()
    is_block = _have_one_label(lines, begins)
    for i, cells in enumerate(lines):
        if i in headings or (is_block and i in begins and i):
            ready += [*table_lines(table), ""]
            table = []
        if i in headings:
            ready.append(cells[0])
            continue
        above = lines[i - 1] if i else []
        incomplete = not all(above) or not all(cells)
        goes_on = table and incomplete and pitches[i - 1] <= narrow and (spaced or not cells[0])
        if goes_on and i - 1 not in headings:
            table[-1] = [f"{a} {b}".strip() for a, b in zip(table[-1], cells, strict=True)]
        else:
            table.append(cells)
    return [*ready, *table_lines(table)]


def _headings(lines: Sequence[Sequence[str]], begins: Sequence[int]) -> Iterator[int]:
    """The lines that have a first cell only and stand at the top of a block, above two whole rows or more."""
    for begin, end in pairwise([*begins, len(lines)]):
        first, *rest = lines[begin:end]
        if first[0] and not any(first[1:]) and len(rest) > 1 and all(all(cells[1:]) for cells in rest):
            yield begin


def _have_one_label(lines: Sequence[Sequence[str]], begins: Sequence[int]) -> bool:
    """Whether the lines are blocks, one for each thing: of several lines each, all with one first cell."""
    firsts = {lines[begin][0] for begin in begins}
    n_lines = [end - begin for begin, end in pairwise([*begins, len(lines)])]
    return len(begins) > 1 and len(firsts) == 1 and min(n_lines) > 1 and "" not in firsts


def _column_starts(rows: Sequence[Row], least: float) -> list[float]:
    """Where the columns after the first begin: behind each strip that no row of the table enters.

    A cell that fills its column leaves no strip. A column begins all the same where most rows have a word,
    well apart from what is before it.
    """
    starts: list[float] = []
    words = sorted(_flat(rows), key=lambda w: w.x0)
    end = words[0].x1
    for word in words[1:]:
        is_new = not starts or word.x0 - starts[-1] > ALIGNED
        if word.x0 - end >= least or (is_new and _is_edge(rows, word.x0, least)):
            starts.append(word.x0)
        end = max(end, word.x1)
    return starts


def _is_edge(rows: Sequence[Row], x: float, least: float) -> bool:
    """Whether in most rows with words on both sides of `x` one begins there, most of them well apart."""
    before = [b.x0 - a.x1 for row in rows for a, b in pairwise(row) if abs(b.x0 - x) < ALIGNED]
    n_apart = sum(gap >= least for gap in before)
    n_both = sum(row[0].x0 < x - ALIGNED < row[-1].x0 for row in rows)
    return len(before) >= max(3, 0.6 * n_both) and n_apart > 0.6 * len(before)


def _cells(row: Row, starts: Sequence[float], least: float) -> list[str]:
    cells: list[Row] = [[] for _ in range(len(starts) + 1)]
    for word in row:
        cells[sum(word.x0 >= start for start in starts)].append(word)
    return [_with_bars(cell, least) for cell in cells]


def _with_bars(cell: Row, least: float) -> str:
    """The text of a cell; a wide gap in it, over which another row has written, still parts it."""
    parts: list[Row] = []
    for word in cell:
        if parts and word.x0 - parts[-1][-1].x1 < least:
            parts[-1].append(word)
        else:
            parts.append([word])
    return BAR.join(row_text(part) for part in parts)


# ---- paragraphs ------------------------------------------------------------------------------------


def _paragraphs(rows: Sequence[Row]) -> list[str]:
    """A line a row, empty lines where the space, the size or an indent says that a paragraph begins."""
    lines = [row_text(rows[0])]
    pitches = [above[0].y - row[0].y for above, row in pairwise(rows)]
    usual = median(pitches) if pitches else 0.0
    for i, (above, row) in enumerate(pairwise(rows)):
        size, size_above = max(w.size for w in row), max(w.size for w in above)
        wide = pitches[i] > 1.3 * min(usual, 1.6 * size)
        resized = not 0.87 < size / size_above < 1.15
        below = rows[i + 2] if i + 2 < len(rows) else above
        indented = row[0].x0 - max(above[0].x0, below[0].x0) > 0.7 * size
        if wide or resized or (indented and lines[-1].endswith(_SENTENCE_END)):
            lines.append("")
        lines.append(row_text(row))
    return lines
