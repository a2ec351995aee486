"""Any text asked back, in any language: the words in a gap, the word that comes next, a sentence's heading.

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
    wide = bool(_WIDE.search(text[start:end]))
    if wide:
        edges = [i for i in range(start, end + 1) if not _within_a_word(text[i - 1 : i + 1])]
        n_before, n_answer, n_after = draw.randint(8, 14), draw.randint(2, 8), draw.randint(4, 8)
    else:
        edges = [start, *(match.end() for match in re.finditer(r"\s+", text[start:end])), end]
        edges = [edge if i in (0, len(edges) - 1) else start + edge for i, edge in enumerate(edges)]
        n_before, n_answer, n_after = draw.randint(4, 8), draw.randint(1, 4), draw.randint(3, 5)
        n_answer = 1 if is_word else n_answer
    n_words = len(edges) - 1
    possible = range(n_before, n_words - n_answer - n_after + 1)
    for i in draw.sample(possible, min(len(possible), 6)):
        a, b, c, d = (edges[j] for j in (i - n_before, i, i + n_answer, i + n_answer + n_after))
        answer = text[b:c].strip()
        limit = LONGEST_ANSWER // 3 if wide else LONGEST_ANSWER
        if _tells(answer, wide) and len(answer) <= limit and "…" not in text[a:d]:
            return (a, b), (c, d)
    return None


def _within_a_word(pair: str) -> bool:
    """Whether two signs are both of a word that is written in letters, in a text that is not."""
    return len(pair) == 2 and pair.isalnum() and pair.isascii()


def _tells(answer: str, wide: bool) -> bool:
    """Whether an answer is worth asking for: words at both its ends, a long one or a number among them."""
    if not answer or not (answer[0].isalnum() and answer[-1].isalnum()):
        return False
    if re.search(r"[.!?;:。！？；：、，,]\s?", answer):
        return False
    return wide or any(len(word) > 5 or word[0].isdigit() for word in answer.split())


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
    """From a section's first words to its heading and back."""
    found = []
    for words, place, (start, end) in sections:
        first = text[start:end].split("\n", 1)[0]
        wide = bool(_WIDE.search(first))
        pieces = list(first) if wide else first.split(" ")
        sentence = ("" if wide else " ").join(pieces[: 16 if wide else 8])
        opening = ("" if wide else " ").join(pieces[: 12 if wide else 5])
        if text.count(sentence) != 1 or not first.startswith(opening):
            continue
        if draw.random() < 0.6 and len(words) <= LONGEST_ANSWER:
            question = draw.choice(asks["under"]).format(sentence=sentence)
            found.append(Asked(question, "extractive", words, (place,)))
        elif len(opening) <= LONGEST_ANSWER:
            question = draw.choice(asks["begins"]).format(heading=words)
            found.append(Asked(question, "extractive", opening, ((start, start + len(opening)),)))
    return found
