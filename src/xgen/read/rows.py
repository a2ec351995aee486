"""A reply that goes through the entries of a table: which stand in the document, where, and the answer.

The answer is worked out from the entries, since a last line that repeats many names forgets one more easily
than a line of its own; the last line says whether names or their number were asked for.
"""

import re
from collections.abc import Sequence

from xgen.read.answer import Row
from xgen.read.select import Passage
from xgen.read.sources import Sources
from xgen.text.rows import Entry, RowReply, begins_rows, parse_rows

READ_TOKENS = 2_560
"""Of the text around the chosen passages that is read for such a question: a table is of use whole only."""

REPLY_TOKENS = 512
"""Of the lines before the answer, at most: some twenty entries."""

NEAR_CHARACTERS = 600
"""Within which the value of an entry is looked for behind its name."""

LONGEST_PLACE = 400

NONE = "none"

_BORDER_BEFORE, _BORDER_AFTER = r"(?<!\w)(?<!\w[-./])", r"(?!\w|[-./]\w)"


def is_begun(text: str) -> bool:
    """Whether a reply that is still written goes through entries: its first line is whole, and one."""
    return "\n" in text.strip() and begins_rows(text)


def is_ruled_out(text: str) -> bool:
    """Whether a reply that is still written cannot become one that goes through entries."""
    return not "- ".startswith(text.lstrip()[:2])


def goes_round(text: str) -> bool:
    """Whether the last whole line of a reply has been there before."""
    *before, last, rest = text.split("\n") if text.count("\n") else ["", "", text]
    return not rest and last in before and begins_rows(last)


def around(
    sources: Sources, every: Sequence[Passage], chosen: Sequence[Passage], begun: str
) -> list[Passage]:
    """The chosen passages and what stands around the table in them, READ_TOKENS in all, in the text's order.

    The table is where the first entry of the reply `begun` stands; the passages that have it grow to both
    sides by turns, within their document. `every` are all passages.
    """
    reply = parse_rows(begun)
    name = _pattern(reply.entries[0].name) if reply else ""
    holding = [p for p in chosen if re.search(name, sources.text[p.start : p.end])] or chosen[:1]
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

    An entry whose name is nowhere in the passages is no part of the answer; of several with one name the
    first is. The value of an entry may stand anywhere in them.
    """
    names = [entry.name for entry in reply.entries]
    rows: list[Row] = []
    strange: list[str] = []
    for number, entry in enumerate(reply.entries):
        if entry.name in names[:number]:
            continue
        places = [found for p in passages for found in _places(sources.text, p, entry)]
        if not places:
            strange.append(str(entry))
            continue
        is_near, start, end = max(places, key=lambda place: (place[0], -place[1]))
        if not is_near and not any(_stands(sources.text, p, entry.value) for p in passages):
            strange.append(str(entry))
        rows.append(Row(entry.name, entry.value, entry.holds, sources.citation(start, end)))
    chosen = [row.name for row in rows if row.holds]
    is_of_names = not reply.answer or not set(reply.answer.split(", ")).isdisjoint(names)
    if reply.answer.isdecimal():
        answer = str(len(chosen))
    elif is_of_names or reply.chosen:
        answer = ", ".join(chosen) or NONE
    else:
        answer = reply.answer
    return answer, tuple(rows), tuple(strange)


def _places(text: str, passage: Passage, entry: Entry) -> list[tuple[bool, int, int]]:
    """Where the name stands: whether its value is near, and the lines of both, or of the name alone."""
    found = []
    for match in re.finditer(_pattern(entry.name), text[passage.start : passage.end]):
        start, end = passage.start + match.start(), passage.start + match.end()
        line = _line_around(text, passage, start, end)
        stop = min(end + NEAR_CHARACTERS, passage.end)
        behind = re.search(_pattern(entry.value), text[end:stop])
        if behind is not None:
            last = _line_around(text, passage, end + behind.start(), end + behind.end())[1]
            found.append((True, line[0], last if last - line[0] <= LONGEST_PLACE else line[1]))
        else:
            found.append((bool(re.search(_pattern(entry.value), text[line[0] : start])), *line))
    return found


def _stands(text: str, passage: Passage, value: str) -> bool:
    return re.search(_pattern(value), text[passage.start : passage.end]) is not None


def _pattern(words: str) -> str:
    """The words, with any white space between them and behind their hyphens, where lines may be broken."""
    parts = [re.escape(word).replace(r"\-", r"\-\s*") for word in words.split()]
    before = _BORDER_BEFORE if words[:1].isalnum() else ""
    return before + r"\s+".join(parts) + (_BORDER_AFTER if words[-1:].isalnum() else "")


def _line_around(text: str, passage: Passage, start: int, end: int) -> tuple[int, int]:
    """The line, or lines, that hold `text[start:end]`, without white space at their ends."""
    begin = max(text.rfind("\n", passage.start, start) + 1, passage.start)
    stop = text.find("\n", end, passage.end)
    line = text[begin : stop if stop >= 0 else passage.end]
    return begin + len(line) - len(line.lstrip()), begin + len(line.rstrip())
