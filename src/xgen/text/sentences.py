"""Sentences and paragraphs of a text in any script, as spans of character offsets.

Two steps. Lines are first put together into blocks: a heading, a list item or a table row is a block of
its own, hard-wrapped lines of prose are one. Each block is then cut after its sentences' last marks.
The law that the tests hold: spans are ordered, disjoint and tight (no white space at either end), and
every other character is in exactly one.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int]

MAX_SENTENCE_CHARACTERS = 2000  # a longer one is no sentence (data, a list without marks) and is cut

_LINE = re.compile(r"[^\n\r\v\f\x85\u2028\u2029]+")
_BREAK = r"(?>\r\n|[\n\r\v\x85\u2028])"
_BLANK = re.compile(rf"{_BREAK}\s*{_BREAK}|[\f\u2029]")

# ---- lines to blocks ------------------------------------------------------------------------------

_LIST_ITEM = re.compile(r"(?:[-*+•‣▪◦●○–—·]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])\s+\S")
_ALONE = re.compile(r"#{1,6}\s|\||```|~~~|[-=*_~+|:\s]{3,}$")  # heading, row, fence, rule
_ROW = re.compile(r"\S\s*(?:\t|\s\|\s)\s*\S|\|$")
_VALUES = re.compile(r"[,;](?=[^\s\d])|(?<=[^\s\d])[,;](?=\d)")  # between values without spaces; not in 1,000
_CELL_WORDS = 3  # of such a line to each of its values at most; a line of prose has more
_NARROW = 40  # characters; lines of a block no wider than this are an address or a list, not wrapped prose


def _blocks(text: str, start: int, end: int) -> Iterator[Span]:
    """Tight spans of blocks, in order."""
    for lines in _paragraph_lines(text, start, end):
        width = max(_NARROW, *(b - a for a, b in lines))
        block_start, block_end = lines[0]
        for (a, b), (c, d) in pairwise(lines):
            if _continues(text[a:b], text[c:d], width):
                block_end = d
            else:
                yield block_start, block_end
                block_start, block_end = c, d
        yield block_start, block_end


def _paragraph_lines(text: str, start: int, end: int) -> Iterator[list[Span]]:
    """The tight, non-empty lines of each stretch between blank lines."""
    lines: list[Span] = []
    for match in _LINE.finditer(text, start, end):
        span = _tight(text, match.start(), match.end())
        if lines and (span is None or _BLANK.search(text, lines[-1][1], span[0])):
            yield lines
            lines = []
        if span is not None:
            lines.append(span)
    if lines:
        yield lines


def _continues(line: str, following: str, width: int) -> bool:
    """Whether the break between two lines was made by the width of the page only."""
    if _ALONE.match(line) or _ROW.search(line):
        return False
    if _ALONE.match(following) or _ROW.search(following) or _LIST_ITEM.match(following):
        return False
    if _has_values(line) and _has_values(following):
        return False
    if following[0].islower():
        return True
    # The next word would have fitted in: the break was meant. A fifth of the width is left for
    # proportional type, where characters do not measure width exactly.
    next_word = len(following.split(maxsplit=1)[0]) if not _IDEOGRAPH.match(following) else 1
    return len(line) + 1 + next_word > 0.8 * width


def _has_values(line: str) -> bool:
    """Whether a line reads like one of a file of values, with commas or semicolons between them."""
    n_marks = len(_VALUES.findall(line))
    return n_marks > 0 and len(line.split()) <= _CELL_WORDS * (n_marks + 1)


def _tight(text: str, start: int, end: int) -> Span | None:
    stretch = text[start:end]
    start += len(stretch) - len(stretch.lstrip())
    stretch = stretch.strip()
    return (start, start + len(stretch)) if stretch else None


# ---- blocks to sentences --------------------------------------------------------------------------

_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_CLOSING = "\"'”’»›)\\]}」』】）〉》*_"
# Full-width marks end a sentence by themselves; the others only before white space.
_END = re.compile(
    rf"(?P<wide>[。！？｡]+[{_CLOSING}]*)"
    rf"|(?P<mark>[.!?…؟۔।॥።፧։។៕၊။༎᠃‼⁇⁈⁉]+(?:\s\.(?!\w))*)[{_CLOSING}]*(?=\s|(?<=[।॥።។။؟۔])\w)"
)
_OPENING = re.compile(r"[\s\"'“”‘’„«‹(\[{「『【（¿¡*_–—-]*")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Abbreviations after which the sentence goes on, whatever follows.
_INSIDE = _words(
    # English
    "mr mrs ms dr prof rev hon gen col maj capt lt sgt gov sen rep pres st mt messrs "
    "no nos fig figs eq eqs sec sect ch chap vol vols p pp pt art arts ex para ref refs vs v cf viz "
    "approx ca e.g i.e eg ie ed eds al "
    # German
    "z.b d.h u.a o.ä s.o s.u v.a i.d.r nr abs bzw ggf evtl vgl hrsg bd str tel inkl exkl zzgl "
    # French, Spanish, Italian, Portuguese, Dutch
    "m mme mlle mm me p.ex env ee sr sra srta dra ud uds núm pág págs av dott sig sigg ing pag dhr mevr bijv "
    # Russian, Ukrainian, Bulgarian, Serbian
    "т.е т.к см ср ул им стр рис табл гл проф акад напр"
)
# Abbreviations that may also stand last: what follows decides.
_EITHER = _words(
    "jr sr inc ltd co corp bros llc dept univ est a.m p.m ph.d u.s u.k u.n d.c mio mrd tys mln "
    "jan feb mar apr jun jul aug sep sept oct nov dec okt dez г гг в вв тыс млн млрд руб др"
)
# Words with a capital that open a sentence, so that what stood before has ended.
_STARTERS = _words(
    "the a an this that these those it he she we they you i in on at for from with by as if when while after "
    "before but and or so there here his her its our their however what who why how where no not all "
    "der die das ein eine es er sie wir ich dies diese dieser im in am bei mit von für auf aber und "
    "le la les un une il elle nous vous ils el los las una en se lo gli"
)
_GERMAN_BEFORE_ORDINAL = _words(
    "am der des dem den die das im vom zum zur bis seit ab beim und"  # "am 3. Oktober"
)
_WORD_BEFORE = re.compile(r"[^\s\"'“‘„«(\[{]+$")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # U.S, z.B, J.-P is two


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Spans of the sentences of `text[start:end]`, as offsets into `text`."""
    spans: list[Span] = []
    for block_start, block_end in _blocks(text, start, len(text) if end is None else end):
        for a, b in _cut(text, block_start, block_end):
            spans.extend(_shortened(text, a, b))
    return spans


def paragraph_spans(text: str) -> list[Span]:
    """Spans of the paragraphs of `text`: stretches between blank lines.

    Where lines run longer than a page is wide the text was not wrapped by hand, and every line is a
    paragraph; rows of a table stay together.
    """
    spans: list[Span] = []
    for lines in _paragraph_lines(text, 0, len(text)):
        unwrapped = max(b - a for a, b in lines) > 160
        first = lines[0][0]
        for (a, b), (c, d) in pairwise(lines):
            if unwrapped and not (_ROW.search(text[a:b]) and _ROW.search(text[c:d])):
                spans.append((first, b))
                first = c
        spans.append((first, lines[-1][1]))
    return spans


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    """The sentences of one block."""
    all_lower = not any(character.isupper() for character in text[start:end])
    label = _behind_opening(text, start, end)
    first = start
    for match in _END.finditer(text, start, end):
        if match.start() == first or match.end() == end:
            continue
        if match["wide"] or _ends(text, first, match, end, label, all_lower):
            span = _tight(text, first, match.end())
            if span:
                yield span
                first = match.end()
    span = _tight(text, first, end)
    if span:
        yield span


def _ends(text: str, first: int, match: re.Match[str], end: int, label: int, all_lower: bool) -> bool:
    """Whether a mark ends the sentence that began at `first`.

    `end` is that of the block; `label` is where its first word stands, which may be a number that belongs
    to what follows. In a block without capitals a small letter may begin a sentence.
    """
    at, mark, after = match.start(), match["mark"], match.end()
    next_start = _behind_opening(text, after, end)
    rest = text[next_start : min(next_start + 40, end)]
    if not rest:
        return True
    if rest[0].islower() and not all_lower:
        return False
    if mark != ".":
        return True
    found = _WORD_BEFORE.search(text, max(first, at - 40), at)
    if not found:
        return True
    word = found[0]
    next_word = re.split(r"\W", rest, maxsplit=1)[0]
    if word.casefold() in _INSIDE:
        return False
    starts = next_word[:1].isupper() and next_word.casefold() in _STARTERS
    if found.start() == label and re.fullmatch(r"[\d.]+|[^\W\d]", word):
        return False  # "1. Introduction", "A. Scope": the number belongs to what follows
    if word.casefold() in _EITHER or _DOTTED.fullmatch(word):
        return starts
    if len(word) == 1 and word.isupper():
        return starts  # an initial
    if re.fullmatch(r"\d{1,2}", word):
        before = text[max(first, found.start() - 12) : found.start()].split()
        return not (before and before[-1].casefold() in _GERMAN_BEFORE_ORDINAL)
    return True


def _behind_opening(text: str, start: int, end: int) -> int:
    opening = _OPENING.match(text, start, end)
    return opening.end() if opening else start


def _shortened(text: str, start: int, end: int) -> Iterator[Span]:
    """Pieces of at most MAX_SENTENCE_CHARACTERS, cut at white space where there is some."""
    while end - start > MAX_SENTENCE_CHARACTERS:
        limit = start + MAX_SENTENCE_CHARACTERS
        cut = next((i for i in range(limit, start, -1) if text[i].isspace()), limit)
        yield _tight(text, start, cut) or (start, cut)
        rest = text[cut:end]
        start = end - len(rest.lstrip())
    yield start, end
