"""A reply that goes through the entries of a table: which stand in the document, where, and the answer.

The answer is worked out from the entries, since a last line that repeats many names forgets one more easily
than a line of its own; the last line says whether names or their number were asked for.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

_MARKS = (r"\|", r"\t", ";", r" \u00b7 ", r" - ", r" / ", r'","', r"(?<=\S)  +(?=\S)", r" & ", r", ")
"""What parts the cells of a line of a table, as patterns."""

_PROSE_MARKS = {";", r" - ", r" / ", r", "}
"""Those that part the words of sentences as well."""

_BEFORE_NAME = ' |\t"*`_'
"""What may stand before a name that begins a line."""

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
    its row; where nothing shows what a row is, anywhere in the passages.
    """
    rows: list[Row] = []
    strange: list[str] = []
    for entry in reply.entries:
        places = [found for p in passages for found in _places(sources.text, p, entry)]
        in_rows = [place for place in places if place.in_row]
        if not places:
            strange.append(str(entry))
            continue
        place = min(in_rows or places)
        row = Row(entry.name, entry.value, entry.holds, sources.citation(place.start, place.end))
        alike = [kept for kept in rows if kept.name == entry.name]
        if alike and (place.far == inf or row.citation in [kept.citation for kept in alike]):
            continue
        if place.far == inf and (in_rows or not any(_stands(sources.text, p, entry.value) for p in passages)):
            strange.append(str(entry))
        rows.append(row)
    names = {entry.name for entry in reply.entries}
    chosen = [row.name for row in rows if row.holds]
    is_of_names = not reply.answer or not names.isdisjoint(reply.answer.split(", "))
    if reply.answer.isdecimal() and reply.answer != ", ".join(reply.chosen):
        answer = str(len(chosen))
    elif is_of_names or reply.chosen:
        answer = ", ".join(dict.fromkeys(chosen)) or NONE
    else:
        answer = reply.answer
    return answer, tuple(rows), tuple(strange)


def passed_over(sources: Sources, rows: Sequence[Row]) -> tuple[Citation, ...]:
    """Lines of the rows' table that are like theirs and none of them: entries that a model may have missed.

    Known only where each row is a line of its own, with as many marks between its cells as the others. The
    first such line above the rows is the table's head; what reads like it is another page's.
    """
    found: list[Citation] = []
    for document, begin in zip(sources.documents, sources.starts, strict=True):
        quotes = [row.citation.quote for row in rows if row.citation.path == document.path]
        starts = {row.citation.start for row in rows if row.citation.path == document.path}
        begun = [document.text[document.text.rfind("\n", 0, start) + 1 : start] for start in starts]
        are_lines = len(starts) == len(quotes) and not any(map(str.strip, begun))
        marks = _marks_of(quotes)
        if len(quotes) < 2 or not are_lines or not marks:
            continue
        table = _stretch(document.text, min(starts), max(starts), marks)
        head = table[0] if table and table[0][0] not in starts else None
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


def _stretch(text: str, first: int, last: int, marks: Mapping[str, int]) -> list[tuple[int, int]]:
    """The lines with these marks from the one at `first` to that at `last`, and on without a gap.

    Lines without letters, which rule a table, make no gap.
    """
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\s][^\n]*(?<!\s)", text)]
    alike = [all(len(re.findall(mark, text[a:b])) == n for mark, n in marks.items()) for a, b in lines]
    i, j = (bisect_right(lines, place, key=lambda line: line[0]) - 1 for place in (first, last))
    while i and (alike[i - 1] or not re.search(r"\w", text[slice(*lines[i - 1])])):
        i -= 1
    while j + 1 < len(lines) and alike[j + 1]:
        j += 1
    return [line for line, is_alike in zip(lines[i : j + 1], alike[i : j + 1], strict=True) if is_alike]


@dataclass(frozen=True, order=True)
class _Place:
    """Where an entry's name stands: how far its value is (characters; inf: not near), and the lines to cite.

    `in_row`: the name begins a line of a table, with as many marks between its cells as another one near it.
    (Elsewhere in a line it may be a sheet's, "Name | Tern", with its values below.)
    """

    far: float
    start: int
    end: int
    in_row: bool


def _places(text: str, passage: Passage, entry: Entry) -> list[_Place]:
    """Where the name stands, with the lines of name and value, or of the name alone.

    A value below the name's line is further than all that is in it, and none of a row's from the next row on.
    """
    value = re.compile(_pattern(entry.value))
    found = []
    for match in re.finditer(_pattern(entry.name), text[passage.start : passage.end], re.IGNORECASE):
        start, end = passage.start + match.start(), passage.start + match.end()
        line = _line_around(text, passage, start, end)
        begins = not text[line[0] : start].strip(_BEFORE_NAME)
        row_end = _row_end(text, passage, *line) if begins else None
        stop = min(end + NEAR_CHARACTERS, passage.end) if row_end is None else row_end
        before = [*value.finditer(text, line[0], start)][-1:]
        behind = value.search(text, end, stop)
        far = start - before[0].end() if before else inf
        if behind is not None:
            below = NEAR_CHARACTERS if "\n" in text[end : behind.start()] else 0
            if behind.start() - end + below < far:
                far, last = behind.start() - end + below, _line_around(text, passage, *behind.span())[1]
                line = line[0], last if last - line[0] <= LONGEST_PLACE else line[1]
        found.append(_Place(far, *line, row_end is not None))
    return found


def _row_end(text: str, passage: Passage, start: int, end: int) -> int | None:
    """Where the row of a table whose first line is `text[start:end]` ends; None if that line is none.

    It is one if a line near it has a mark between its cells as often, and ends before the next such line,
    or with its paragraph: a cell may go on in lines of its own.
    """
    near = max(passage.start, start - NEAR_CHARACTERS), min(passage.end, end + NEAR_CHARACTERS)
    marks = _cells(text[start:end])
    below = [(end + m.start(), m.group()) for m in re.finditer(r"[^\n]+", text[end : near[1]])]
    others = [at for at, line in below if marks & _cells(line)]
    if not others and not any(marks & _cells(line) for line in text[near[0] : start].split("\n")):
        return None
    paragraph = text.find("\n\n", end, near[1])
    return min([*others[:1], paragraph if paragraph >= 0 else near[1]])


def _cells(line: str) -> set[tuple[str, int]]:
    """The marks between the cells of a line and how often it has each, without those that sentences have."""
    return {(mark, n) for mark, n in _marks_of([line.strip()]).items() if mark not in _PROSE_MARKS}


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
