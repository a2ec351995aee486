"""Any text asked back, in any language: the words in a gap, the word that comes next, headings.

What is quoted in a question stands in the text at one place only. Absent: a gap of another text.
"""

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xgen.data.made.page import GAP, Asked, Page, Span, common_licence
from xgen.data.made.texts import Text, drawn_length, is_prose
from xgen.data.made.words import asks_of

CHARACTERS = (1_500, 30_000)
ABSENT_SHARE = 0.12
MOST_ASKED = 28
LONGEST_ANSWER = 45
"""Characters; fifteen in Chinese and Japanese."""

_WIDE = re.compile(r"[\u2e80-\u9fff]")
_WIDE_WORDS = re.compile(
    r"[ァ-ヴー]{3,15}|(?<=[ぁ-ん、。「])[一-龠]{2,8}(?=[ぁ-ん、。」])|\d[\d,.]*[年月日人円元米个個件台%％]+"
    r"|(?<=[，。、；：“《（])[^，。、；：”》）\s\w]*[一-龠]{3,12}(?=[，。、；：”》）])"
)
"""What is a whole in Chinese and Japanese: a name in katakana, kanji between kana, a number with what it
counts, a clause between two marks."""

_MARKED = re.compile(r"\[\d*;?\d*m")
"""What is left of a terminal's colours."""

_HEADING = re.compile(r"={2,4} ?(.+?) ?={2,4}|(?:#+ )?([^\W\d_][^:\n]{2,58}[\w)])")


@dataclass(frozen=True)
class _Part:
    """A stretch of one text: paragraphs, with the headings among them."""

    text: str
    licence: str


def pages(language: str, texts: Sequence[Text], n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents made of stretches of one to four texts."""
    texts = [text for text in texts if sum(map(is_prose, text.text.split("\n"))) >= 2]
    for number in range(n_pages if len(texts) > 4 else 0):
        page = _page(language, texts, number, seed)
        if page is not None:
            yield page


def _page(language: str, texts: Sequence[Text], number: int, seed: int) -> Page | None:
    draw = random.Random(f"spans {language} {number} {seed}")
    asks = asks_of(language)
    room = drawn_length(language, draw, CHARACTERS)
    parts: list[_Part] = []
    most = draw.randint(1, 4)
    while room > 0 and len(parts) < most * 3:
        part = _stretch(draw.choice(texts), room if len(parts) >= most - 1 else room // 2 + 200, draw)
        parts.append(part)
        room -= len(part.text)
    whole = GAP.join(part.text for part in parts)
    answered = _asked(whole, asks, draw)
    if len(answered) < 3:
        return None
    other = _stretch(draw.choice(texts), 4_000, draw).text
    foreign = _asked(other, asks, draw, quoted_not_in=whole)
    n_absent = math.floor(len(answered) * ABSENT_SHARE / (1 - ABSENT_SHARE) + draw.random())
    asked = [*answered, *(Asked(each.question, "unanswerable") for each in foreign[:n_absent])]
    draw.shuffle(asked)
    name = f"spans-{language}-{number}"
    licence = common_licence(part.licence for part in parts)
    return Page(name, language, name, whole, licence, tuple(asked))


def _stretch(text: Text, n_characters: int, draw: random.Random) -> _Part:
    """Lines of a text in a row, of about `n_characters`."""
    lines = [line.rstrip() for line in re.sub(r"\n{3,}", "\n\n", text.text).strip().split("\n")]
    lines = [line for line in lines if not _MARKED.search(line)] or [""]
    start = draw.randrange(len(lines)) if len(text.text) > n_characters else 0
    kept: list[str] = []
    length = 0
    for line in lines[start:]:
        if length and length + len(line) > n_characters:
            break
        kept.append(line[:2_000])
        length += len(line) + 1
    return _Part("\n".join(kept).strip(), text.licence)


def _asked(
    text: str, asks: dict[str, list[str]], draw: random.Random, quoted_not_in: str = ""
) -> list[Asked]:
    """Questions about a text, in random order; none quotes words that stand in `quoted_not_in`."""
    found: list[Asked] = []
    sections = _sections(text)
    paragraphs = [match.span() for match in re.finditer(r"[^\n]+", text) if is_prose(match.group())]
    draw.shuffle(paragraphs)
    for start, end in paragraphs * 2:
        kind = draw.choice([kind for kind in ("gap", "gap", "gap", "next") if kind in asks])
        gap = _gap(text, start, end, kind == "next", draw)
        if gap is None:
            continue
        (a, b), (c, d) = gap
        before, answer, after = text[a:b].strip(), text[b:c].strip(), text[c:d].strip()
        place = text.index(answer, b)
        taken = any(place < old.places[0][1] and old.places[0][0] < c for old in found)
        if text.count(before) == 1 and before not in quoted_not_in and not taken:
            question = draw.choice(asks[kind]).format(before=before, after=after)
            found.append(Asked(question, "extractive", answer, ((place, place + len(answer)),)))
    found = draw.sample(found, min(len(found), MOST_ASKED))
    if not quoted_not_in:
        found += _headed(text, sections, asks, draw)
    draw.shuffle(found)
    return found[:MOST_ASKED]


def _gap(text: str, start: int, end: int, is_word: bool, draw: random.Random) -> tuple[Span, Span] | None:
    """([before's start, answer's start), [after's start, its end)) in a paragraph; None if it has no such."""
    if _WIDE.search(text, start, end):
        return _wide_gap(text, start, end, draw)
    edges = [start, *(match.end() for match in re.compile(r"\s+").finditer(text, start, end)), end]
    n_before, n_answer, n_after = draw.randint(4, 8), draw.randint(1, 4), draw.randint(3, 5)
    n_answer = 1 if is_word else n_answer
    possible = range(n_before, len(edges) - n_answer - n_after)
    for i in draw.sample(possible, min(len(possible), 10)):
        a, b, c, d = (edges[j] for j in (i - n_before, i, i + n_answer, i + n_answer + n_after))
        answer = text[b:c].strip()
        if _tells(answer) and len(answer) <= LONGEST_ANSWER and "…" not in text[a:d]:
            return (a, b), (c, d)
    return None


def _wide_gap(text: str, start: int, end: int, draw: random.Random) -> tuple[Span, Span] | None:
    """The same where words are not parted: the answer is one of _WIDE_WORDS."""
    n_before, n_after = draw.randint(8, 14), draw.randint(4, 8)
    places = [match.span() for match in _WIDE_WORDS.finditer(text, start, end)]
    places = [(b, c) for b, c in places if b - n_before >= start and c + n_after <= end]
    for b, c in draw.sample(places, min(len(places), 1)):
        if "…" not in text[b - n_before : c + n_after]:
            return (b - n_before, b), (c, c + n_after)
    return None


def _tells(answer: str) -> bool:
    """Whether an answer is worth asking for: words that say something at both its ends, no mark in it."""
    words = answer.split()
    if not words or re.search(r"[.!?;:,]\s", answer) or not (answer[0].isalnum() and answer[-1].isalnum()):
        return False
    ends = all(len(word) > 3 or word[0].isdigit() or word.isupper() for word in (words[0], words[-1]))
    return ends and any(len(word) > 5 or word[0].isdigit() for word in words)


def _sections(text: str) -> list[tuple[str, Span, Span]]:
    """Headings that stand in the text once, as a line: the words, their place, the section's characters."""
    lines = [(match.group().strip(), match.start()) for match in re.finditer(r"[^\n]+", text)]
    heads = []
    for i, (line, start) in enumerate(lines[:-1]):
        match = _HEADING.fullmatch(line)
        if match and is_prose(lines[i + 1][0]) and not is_prose(line):
            words = match.group(1) or match.group(2)
            at = start + text[start:].index(words)
            heads.append((words, (at, at + len(words)), lines[i + 1][1]))
    sections = []
    for number, (words, place, start) in enumerate(heads):
        end = heads[number + 1][1][0] if number + 1 < len(heads) else len(text)
        if text.count(words) == 1:
            sections.append((words, place, (start, end)))
    return sections


def _headed(
    text: str, sections: Sequence[tuple[str, Span, Span]], asks: dict[str, list[str]], draw: random.Random
) -> list[Asked]:
    """From a section's first words to its heading, and from a heading to the next."""
    found = []
    for number, (words, place, (start, end)) in enumerate(sections):
        first = text[start:end].split("\n", 1)[0]
        quoted = first[:16] if _WIDE.search(first) else " ".join(first.split(" ")[:8])
        if text.count(quoted) == 1 and len(words) <= LONGEST_ANSWER:
            question = draw.choice(asks["under"]).format(sentence=quoted)
            found.append(Asked(question, "extractive", words, (place,)))
        following = sections[number + 1] if number + 1 < len(sections) else None
        between = text[start:end].split("\n")
        if following and following[1][0] == end and not any(map(_HEADING.fullmatch, map(str.strip, between))):
            question = draw.choice(asks["follows"]).format(heading=words)
            found.append(Asked(question, "extractive", following[0], (following[1],)))
    return draw.sample(found, min(len(found), MOST_ASKED // 2))
