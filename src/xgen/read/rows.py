"""A reply that goes through the entries of a table: which stand in the document, where, and the answer.

The answer is worked out from the entries, since a last line that repeats many names forgets one more easily
than a line of its own; the last line says whether names or their number were asked for.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf

from xgen.read.answer import Citation, Row
from xgen.read.select import Passage
from xgen.read.sources import Sources
from xgen.read.words import JOINED
from xgen.text.rows import Entry, RowReply, begins_rows, parse_rows

READ_TOKENS = 2_560
"""Of the text around the chosen passages that is read for such a question: a table is of use whole only."""

REPLY_TOKENS = 512
"""Of the lines before the answer, at most: some twenty entries."""

NEAR_CHARACTERS = 600
"""Within which the value of an entry is looked for behind its name."""

LONGEST_PLACE = 400
"""Characters of a citation that holds name and value, at most."""

NONE = "none"

_MARKS = (
    *(r"\|", r"\t", ";", r" \u00b7 ", r" - ", r" / ", r'","', r"(?<=\S)(?!(?<=[.!?])  [A-Z])  +(?=\S)"),
    *(r" & ", r", ", r";(?=\S)", r",(?=[^\s\d])|(?<=[^\s\d]),(?=\d)"),
)
"""What parts the cells of a line of a table, as patterns; the last two as in files of values.

Two spaces behind a sentence are a typist's.
"""

_PROSE_MARKS = {";", r" - ", r" / ", r", "}
"""Those that part the words of sentences as well."""

_BEFORE_NAME = ' \t"*`_['
"""What may stand before a name in its cell."""

_ITEM = re.compile(r"(?:[-*+\u2022\u2023\u25aa\u25e6\u25cf\u2013]|\(?\d{1,3}[.)])\s")
"""What an item of a list begins with."""

_LINE = re.compile(r"\S[^\n]*(?<!\s)")
_ITEM_LINES = re.compile(rf"\S[^\n]*(?:\n[ \t]+(?!{_ITEM.pattern})\S[^\n]*)*(?<!\s)")
"""A line, and one with those behind it that are set in and begin no item."""

_BORDER_BEFORE = rf"(?<!{JOINED})(?<!{JOINED}[-.])"
_BORDER_AFTER = rf"(?!{JOINED}|[-./]{JOINED})"
"""`Tern-2B` is neither in `Tern-2B-it` nor in `Old-Tern-2B`, but it is in `nest/Tern-2B`."""


def is_begun(text: str) -> bool:
    """Whether a reply that is still written goes through entries: its first line is whole, and one."""
    return "\n" in text.strip() and begins_rows(text)


def is_ruled_out(text: str) -> bool:
    """Whether a reply that is still written cannot become one that goes through entries."""
    return not "- ".startswith(text.lstrip()[:2])


def goes_round(text: str) -> bool:
    """Whether the last two whole lines of a reply have stood there before, one behind the other.

    One line may come twice, as where a table has two rows that are alike.
    """
    *lines, rest = text.split("\n")
    pairs = [*pairwise(lines)]
    return not rest and bool(pairs) and pairs[-1] in pairs[:-1] and begins_rows(lines[-1])


def around(
    sources: Sources, every: Sequence[Passage], chosen: Sequence[Passage], begun: str
) -> list[Passage]:
    """The chosen passages and what stands around the table in them, READ_TOKENS in all, in the text's order.

    The table is where the first entry of the reply `begun` stands; the passages that have it grow to both
    sides by turns, within their document. `every` are all passages.
    """
    reply = parse_rows(begun)
    name = _pattern(reply.entries[0].name) if reply else ""
    holding = [p for p in chosen if re.search(name, sources.text[p.start : p.end], re.I)] or chosen[:1]
    taken = {every.index(passage) for passage in chosen}
    room = READ_TOKENS - sum(passage.n_tokens for passage in chosen)
    edges = [(every.index(passage), step) for passage in holding for step in (1, -1)]
    while edges:
        index, step = edges.pop(0)
        if not 0 <= index + step < len(every) or not _same(sources, every[index], every[index + step]):
            continue
        if index + step not in taken:
            room -= every[index + step].n_tokens
            if room < 0:
                break
            taken.add(index + step)
        edges.append((index + step, step))
    return [every[index] for index in sorted(taken)]


def joined(sources: Sources, passages: Sequence[Passage]) -> list[Passage]:
    """Passages in the text's order, those of one document that nothing parts as one."""
    whole: list[Passage] = []
    for passage in passages:
        last = whole[-1] if whole else None
        if last and _same(sources, last, passage) and not sources.text[last.end : passage.start].strip():
            whole[-1] = Passage(last.start, passage.end, last.n_tokens + passage.n_tokens)
        else:
            whole.append(passage)
    return whole


def _same(sources: Sources, one: Passage, other: Passage) -> bool:
    """Whether two passages are of one document."""
    return sources.index_at(one.start) == sources.index_at(other.start)


def gone_through(
    sources: Sources, passages: Sequence[Passage], reply: RowReply
) -> tuple[str, tuple[Row, ...], tuple[str, ...]]:
    """The answer, the entries that stand in what was read, and those that do not or not so, in words.

    An entry whose name is nowhere in the passages is no part of the answer. Of several with one name those
    count that have a row of their own, as a team has in three matches. The value of an entry is to stand in
    its row, or beside its name elsewhere; where nothing shows what a row is, anywhere in the passages.
    """
    rows: list[Row] = []
    strange: list[str] = []
    taken: set[tuple[str, int]] = set()
    said: set[tuple[str, str]] = set()
    for entry in reply.entries:
        others = [each.name for each in reply.entries if each.name != entry.name]
        places = [found for p in passages for found in _places(sources.text, p, entry, others)]
        in_rows = [place for place in places if place.in_row]
        borne = [place for place in in_rows or places if place.far < inf]
        borne = borne or [place for place in places if place.far < NEAR_CHARACTERS]
        free = [place for place in borne if (entry.name, place.start) not in taken]
        if (entry.name, entry.value) in said:
            free = [place for place in free if place.in_row]
        said.add((entry.name, entry.value))
        is_again = entry.name in (row.name for row in rows)
        if not borne:
            stands = bool(places) and any(_stands(sources.text, p, entry.value) for p in passages)
            strange += [] if stands and not in_rows and not is_again else [str(entry)]
        if not places or (is_again and not free):
            continue
        place = min(free or in_rows or places)
        taken.add((entry.name, place.start))
        cited = sources.citation(place.start, place.end)
        rows.append(Row(entry.name, entry.value, entry.holds, cited, entry.says))
    return _answer(reply, rows), tuple(rows), tuple(dict.fromkeys(strange))


def _answer(reply: RowReply, rows: Sequence[Row]) -> str:
    """What the rows say, in the way of the last line: names, their number, or a word about a single one."""
    chosen = [row.name for row in rows if row.holds]
    names = {entry.name for entry in reply.entries}
    is_of_names = not reply.answer or not names.isdisjoint(reply.answer.split(", "))
    if reply.answer.isdecimal() and reply.answer != ", ".join(dict.fromkeys(reply.chosen)):
        return str(len(chosen))
    is_of_one = len(reply.entries) == 1 and bool(rows)  # "is X among those that ...": yes
    if is_of_names or (reply.chosen and not is_of_one):
        return ", ".join(dict.fromkeys(chosen)) or NONE
    return reply.answer


def passed_over(sources: Sources, rows: Sequence[Row]) -> tuple[Citation, ...]:
    """Lines of the rows' table or list that are like theirs and none of them: a model may have missed them.

    Known only where each row is a line of its own, with as many marks between its cells as the others, or
    an item of a list. The first such line above the rows of a table is its head; what reads like it is
    another page's.
    """
    found: list[Citation] = []
    for document, begin in zip(sources.documents, sources.starts, strict=True):
        quotes = [row.citation.quote for row in rows if row.citation.path == document.path]
        starts = {row.citation.start for row in rows if row.citation.path == document.path}
        begun = [document.text[document.text.rfind("\n", 0, start) + 1 : start] for start in starts]
        if len(starts) < 2 or len(starts) != len(quotes) or any(map(str.strip, begun)):
            continue
        if is_list := all(map(_ITEM.match, quotes)):
            table = _stretch(document.text, starts, _ITEM_LINES, lambda line: bool(_ITEM.match(line)))
        elif marks := _marks_of(quotes):
            kept = [mark for mark in marks if mark not in _PROSE_MARKS][:1] or list(marks)
            alike = partial(_has, marks={mark: marks[mark] for mark in kept})
            table = _stretch(document.text, starts, _LINE, alike)
        else:
            continue
        head = table[0] if table and table[0][0] not in starts and not is_list else None
        for start, end in table:
            line = document.text[start:end]
            is_head = head is not None and line == document.text[slice(*head)]
            if start not in starts and not is_head and any(sign.isalnum() for sign in line):
                found.append(sources.citation(begin + start, begin + end))
    return tuple(found)


def _marks_of(lines: Sequence[str]) -> dict[str, int]:
    """What parts the cells of these lines, and how many there are of it in each; none if they differ."""
    counts = {mark: {len(re.findall(mark, line)) for line in lines} for mark in _MARKS}
    if any("\n" in line for line in lines):
        return {}
    return {mark: n for mark, (n, *others) in counts.items() if n and not others}


def _has(line: str, marks: Mapping[str, int]) -> bool:
    """Whether a line has as many of these marks."""
    return all(len(re.findall(mark, line)) == n for mark, n in marks.items())


def _stretch(
    text: str, starts: Collection[int], line: re.Pattern[str], is_alike: Callable[[str], bool]
) -> list[tuple[int, int]]:
    """The lines that are alike from the first to the last of `starts`, and on without a gap.

    `line` finds lines. Those without letters, which rule a table, make no gap above.
    """
    lines = [(m.start(), m.end()) for m in line.finditer(text)]
    alike = [is_alike(text[a:b]) for a, b in lines]
    i, j = (bisect_right(lines, at, key=lambda line: line[0]) - 1 for at in (min(starts), max(starts)))
    while i and (alike[i - 1] or not re.search(r"\w", text[slice(*lines[i - 1])])):
        i -= 1
    while j + 1 < len(lines) and alike[j + 1]:
        j += 1
    return [each for each, is_one in zip(lines[i : j + 1], alike[i : j + 1], strict=True) if is_one]


@dataclass(frozen=True, order=True)
class _Place:
    """Where an entry's name stands: how far its value is (characters; inf: not near), and the lines to cite.

    `in_row`: the line is a row of a table, and the name its own; not the head of a column, nor a sheet's, as
    in "Name | Tern", with the values below.
    """

    far: float
    start: int
    end: int
    in_row: bool


def _places(text: str, passage: Passage, entry: Entry, others: Sequence[str]) -> list[_Place]:
    """Where the name stands, with the lines of name and value, or of the name alone.

    A value below the name's line is further than all that is in it, and none of a row's from the next row on.
    `others` are the names of other entries.
    """
    value = re.compile(_pattern(entry.value))
    found = []
    for match in re.finditer(_pattern(entry.name), text[passage.start : passage.end], re.IGNORECASE):
        start, end = passage.start + match.start(), passage.start + match.end()
        line = _line_around(text, passage, start, end)
        row = _row(text, passage, *line)
        in_row = row is not None and _is_its_own(text[slice(*line)], start - line[0], others, row.is_below)
        stop = row.end if row is not None and in_row else min(end + NEAR_CHARACTERS, passage.end)
        before = [*value.finditer(text, line[0], start)][-1:]
        behind = value.search(text, end, stop)
        far = start - before[0].end() if before else inf
        if behind is not None:
            below = NEAR_CHARACTERS if "\n" in text[end : behind.start()] else 0
            if behind.start() - end + below < far:
                far, last = behind.start() - end + below, _line_around(text, passage, *behind.span())[1]
                line = line[0], last if last - line[0] <= LONGEST_PLACE else line[1]
        found.append(_Place(far, *line, in_row))
    return found


@dataclass(frozen=True)
class _TableRow:
    """Where a row of a table ends, and whether another line of the table is above it."""

    end: int
    is_below: bool


def _row(text: str, passage: Passage, start: int, end: int) -> _TableRow | None:
    """The row of a table whose first line is `text[start:end]`; None if that line is none.

    It is one if a line near it has a mark between its cells as often, and ends before the next such line,
    or with its paragraph: a cell may go on in lines of its own.
    """
    marks = _cells(text[start:end])
    if not marks:
        return None
    first = text.rfind("\n", passage.start, max(passage.start, start - NEAR_CHARACTERS)) + 1
    last = text.find("\n", end + NEAR_CHARACTERS, passage.end)
    near = max(first, passage.start), last if last >= 0 else passage.end
    below = [(end + m.start(), m.group()) for m in re.finditer(r"[^\n]+", text[end : near[1]])]
    others = [at for at, line in below if marks & _cells(line)]
    is_below = any(marks & _cells(line) for line in text[near[0] : start].split("\n"))
    if not others and not is_below:
        return None
    paragraph = re.compile(r"\n\s*\n").search(text, end, near[1])
    return _TableRow(min([*others[:1], paragraph.start() if paragraph else near[1]]), is_below)


def _is_its_own(line: str, at: int, others: Sequence[str], is_below: bool) -> bool:
    """Whether a row of a table is that of the name at `line[at:]`.

    So it is where the name is in the first cell, or in another of three at least where neither the table
    begins nor one of the `others` stands, as they do in the head of a table with a column for each.
    """
    before = line[:at].removeprefix("|") if line.endswith("|") else line[:at]
    if not before.strip(_BEFORE_NAME):
        return True
    if not is_below or max(n for _, n in _cells(line)) < 2:
        return False
    return not any(re.search(_pattern(name), line, re.IGNORECASE) for name in others)


def _cells(line: str) -> set[tuple[str, int]]:
    """The marks between the cells of a line and how often it has each, without those that sentences have."""
    line = line.strip()
    line = line[1:-1] if len(line) > 1 and line[0] == line[-1] == "|" else line
    return {(mark, n) for mark, n in _marks_of([line]).items() if mark not in _PROSE_MARKS}


def _stands(text: str, passage: Passage, value: str) -> bool:
    return re.search(_pattern(value), text[passage.start : passage.end]) is not None


def _pattern(words: str) -> str:
    """The words, with any white space between them and behind their hyphens, where lines may be broken."""
    parts = [re.escape(word).replace(r"\-", r"\-\s*") for word in words.split()]
    before = _BORDER_BEFORE if re.match(JOINED, words) else ""
    return before + r"\s+".join(parts) + (_BORDER_AFTER if re.search(rf"{JOINED}\Z", words) else "")


def _line_around(text: str, passage: Passage, start: int, end: int) -> tuple[int, int]:
    """The line, or lines, that hold `text[start:end]`, without white space at their ends."""
    begin = max(text.rfind("\n", passage.start, start) + 1, passage.start)
    stop = text.find("\n", end, passage.end)
    line = text[begin : stop if stop >= 0 else passage.end]
    return begin + len(line) - len(line.lstrip()), begin + len(line.rstrip())
