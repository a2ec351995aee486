"""Sets of questions with their documents, alone and hidden among other paragraphs.

A set is a file `NAME.jsonl` or `NAME.jsonl.gz`, one JSON object a line, one line a document:

    {"id": "0/3", "lang": "en", "title": "Warsaw", "text": "...", "questions": [
        {"id": "q1", "question": "Who ...?", "type": "extractive",
         "answers": [{"text": "Chopin", "start": 118}]}]}

`lang` is an ISO 639-1 code. `type` is "extractive" (every answer stands in the text:
`text[start:start+len(answer)] == answer`, checked) or "unanswerable" (no answers); questions of any
other type are not asked here. Paragraphs of one article share the part of `id` before the last "/",
or, where there is none, the `title`. Your own questions in this form are read the same way.
"""

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xgen.errors import BadDocument
from xgen.text.sentences import sentence_spans

RESERVE_TOKENS = 256  # of the window, for the template's turns, the question and the answer
LENGTHS_TOKENS = {"2k": 2048, "4k": 4096, "8k": 8192}
MIN_FILL = 0.9  # a haystack is at least this full
GOLDS_PER_HAYSTACK = 16
SIBLINGS_KEPT = 4
_GAP = "\n\n"

CountTokens = Callable[[str], int]  # called often with the same text: hand in a cached one


@dataclass(frozen=True)
class Gold:
    """A gold answer and where it begins, in characters of its document."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question; without gold answers it is unanswerable."""

    id: str
    text: str
    golds: tuple[Gold, ...]


@dataclass(frozen=True)
class Paragraph:
    """A document of a set with its questions."""

    id: str
    lang: str
    article: str
    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class QuestionSet:
    """The documents of one file."""

    name: str
    paragraphs: tuple[Paragraph, ...]

    @property
    def lang(self) -> str:
        """The language of most documents."""
        langs = [p.lang for p in self.paragraphs]
        return max(sorted(set(langs)), key=langs.count)


@dataclass(frozen=True)
class Asked:
    """A question put to a case; `paragraph` is the id of the document it was written for.

    The golds' places are in the case's text; there are none where the answer is not in it. `depth`
    is where the gold paragraph begins, as a share of the text.
    """

    question: Question
    paragraph: str
    depth: float | None


@dataclass(frozen=True)
class Case:
    """One text and all the questions asked of it, so that it is read once and asked many times."""

    lang: str
    text: str
    asked: tuple[Asked, ...]


class NotEnoughText(Exception):
    """A set that has too few paragraphs to fill a haystack of the length wanted."""


# ---- loading


def load(place: Path) -> list[QuestionSet]:
    """The set in a file, or every set in a folder that has documents with questions, by name.

    Raises BadDocument, naming file and line, where a line breaks the form above.
    """
    if not place.exists():
        raise BadDocument(str(place), "there is no such file or folder", "name a *.jsonl or *.jsonl.gz")
    files = [place] if place.is_file() else sorted([*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")])
    sets = [QuestionSet(set_name(file), tuple(_paragraphs(file))) for file in files]
    return [s for s in sets if any(p.questions for p in s.paragraphs)]


def set_name(file: Path) -> str:
    """The file's name without .jsonl and .gz."""
    return file.name.removesuffix(".gz").removesuffix(".jsonl")


def _paragraphs(file: Path) -> Iterator[Paragraph]:
    opened = gzip.open if file.suffix == ".gz" else open
    number = 0
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = json.loads(line)
                if "text" in row and "questions" in row:
                    yield _paragraph(row)
    except (OSError, EOFError, zlib.error) as error:
        raise BadDocument(file.name, f"it cannot be read to its end ({error})", "bring it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadDocument(
            f"{file.name} line {number}", f"not a document with questions ({error})", "mend the line"
        ) from error


def _paragraph(row: dict[str, Any]) -> Paragraph:
    text = row["text"]
    questions = []
    for asked in row["questions"]:
        if asked["type"] not in ("extractive", "unanswerable"):
            continue
        golds = tuple(Gold(a["text"], a["start"]) for a in asked["answers"])
        if bool(golds) != (asked["type"] == "extractive"):
            raise ValueError(f"question {asked['id']} is {asked['type']} with {len(golds)} answers")
        for gold in golds:
            if text[gold.start : gold.start + len(gold.text)] != gold.text:
                raise ValueError(f"an answer of {asked['id']} does not stand at {gold.start}")
        questions.append(Question(asked["id"], asked["question"], golds))
    article, parted, _ = row["id"].rpartition("/")
    return Paragraph(
        id=row["id"],
        lang=row["lang"],
        article=article if parted else row.get("title") or row["id"],
        text=text,
        questions=tuple(questions),
    )


# ---- choosing


def by_hash(seed: str, key: str) -> bytes:
    """A sort key that looks random, is the same everywhere and hangs on `seed` and `key` only."""
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def take(paragraphs: Sequence[Paragraph], limit: int | None) -> list[Paragraph]:
    """Paragraphs drawn by hash of their ids until they hold `limit` questions; the last one is cut."""
    drawn = sorted((p for p in paragraphs if p.questions), key=lambda p: by_hash("take", p.id))
    if limit is None:
        return drawn
    kept, left = [], limit
    for paragraph in drawn:
        if left <= 0:
            break
        kept.append(replace(paragraph, questions=paragraph.questions[:left]))
        left -= len(kept[-1].questions)
    return kept


def answerable(paragraph: Paragraph) -> Paragraph:
    """The paragraph with only those of its questions that have an answer."""
    return replace(paragraph, questions=tuple(q for q in paragraph.questions if q.golds))


def unanswerable(paragraph: Paragraph) -> Paragraph:
    """The paragraph with only those of its questions that were written without an answer."""
    return replace(paragraph, questions=tuple(q for q in paragraph.questions if not q.golds))


# ---- cases


def alone(golds: Sequence[Paragraph]) -> list[Case]:
    """Each paragraph by itself with its questions."""
    return [
        Case(p.lang, p.text, tuple(Asked(q, p.id, 0.0) for q in p.questions)) for p in golds if p.questions
    ]


def hidden(
    pool: Sequence[Paragraph],
    golds: Sequence[Paragraph],
    target_tokens: int,
    count: CountTokens,
    per_haystack: int = GOLDS_PER_HAYSTACK,
) -> list[Case]:
    """The gold paragraphs hidden at random depths in texts of `target_tokens`, filled from `pool`.

    Every question of `golds` is asked once. Up to `per_haystack` gold paragraphs share a text. All
    is drawn from hashes of the ids, so that the same input gives the same texts on any machine.

    Raises:
        NotEnoughText: where the pool cannot fill the text to MIN_FILL, or a gold paragraph alone
            is longer than the text.
    """
    groups: list[list[Paragraph]] = []
    room = 0
    for gold in (g for g in golds if g.questions):
        needed = _size(gold, count)
        if needed > target_tokens:
            raise NotEnoughText(f"paragraph {gold.id} has more than {target_tokens} tokens")
        if not groups or needed > room or len(groups[-1]) == per_haystack:
            groups.append([])
            room = target_tokens
        groups[-1].append(gold)
        room -= needed
    cases = []
    for group in groups:
        chosen = fill(pool, group, target_tokens, count, seed=" ".join(g.id for g in group))
        cases.append(_haystack(chosen, group))
    return cases


def taken_out(
    pool: Sequence[Paragraph],
    golds: Sequence[Paragraph],
    target_tokens: int,
    count: CountTokens,
    per_haystack: int = GOLDS_PER_HAYSTACK,
) -> tuple[list[Case], int]:
    """Texts *without* the gold paragraphs, and how many questions were left out.

    Up to SIBLINGS_KEPT paragraphs of the same article as each gold one stay, the rest is filled from
    `pool`. A question whose gold answer stands in the text all the same, in whatever sense, may have
    an answer there: it is left out and counted in the second value. Questions come without golds.
    Raises NotEnoughText as `hidden` does.
    """
    groups: list[tuple[list[Paragraph], list[Paragraph]]] = []  # absent, present
    room = 0
    for gold in (g for g in golds if g.questions):
        siblings = _siblings(pool, gold, target_tokens // 2, count)
        needed = sum(_size(p, count) for p in siblings)
        full = not groups or needed > room or len(groups[-1][0]) == per_haystack
        if full or any(g.article == gold.article for g in groups[-1][0]):
            groups.append(([], []))
            room = target_tokens
        groups[-1][0].append(gold)
        groups[-1][1].extend(siblings)
        room -= needed
    cases, n_left_out = [], 0
    for absent, present in groups:
        banned = frozenset(g.text for g in absent)
        seed = " ".join(g.id for g in absent)
        chosen = fill(pool, present, target_tokens, count, seed, banned)
        folded = _joined(chosen).casefold()
        asked = [
            Asked(replace(q, golds=()), gold.id, None)
            for gold in absent
            for q in gold.questions
            if not any(g.text.casefold() in folded for g in q.golds)
        ]
        n_left_out += sum(len(gold.questions) for gold in absent) - len(asked)
        if asked:
            cases.append(replace(_haystack(chosen, []), asked=tuple(asked)))
    return cases, n_left_out


def beside(pool: Sequence[Paragraph]) -> list[Case]:
    """Each paragraph's questions put to the next one of its article, but those whose answer stands there."""
    articles: dict[str, list[Paragraph]] = {}
    for paragraph in pool:
        articles.setdefault(paragraph.article, []).append(paragraph)
    cases = []
    for kin in articles.values():
        for gold, other in zip(kin, [*kin[1:], kin[0]], strict=True):
            folded = other.text.casefold()
            asked = tuple(
                Asked(replace(q, golds=()), gold.id, None)
                for q in gold.questions
                if q.golds and not any(g.text.casefold() in folded for g in q.golds)
            )
            if asked and other is not gold:
                cases.append(Case(other.lang, other.text, asked))
    return cases


def fill(
    pool: Sequence[Paragraph],
    present: Sequence[Paragraph],
    target_tokens: int,
    count: CountTokens,
    seed: str,
    banned: frozenset[str] = frozenset(),
) -> list[Paragraph]:
    """`present` and paragraphs of `pool` that nearly make `target_tokens`, in an order drawn by `seed`.

    Where the paragraphs left are all too long, the first sentences of some fill up. No text comes
    twice and none of `banned` at all. Raises NotEnoughText below MIN_FILL.
    """
    chosen, taken = list(present), {p.text for p in present} | banned
    room = target_tokens - sum(_size(p, count) for p in present)
    order = sorted(pool, key=lambda p: by_hash(seed, p.id))
    for cut in (_whole, _beginning):
        for other in order:
            if cut is _beginning and room <= (1 - MIN_FILL) * target_tokens / 2:
                break
            part = cut(other, room, count) if other.text not in taken else None
            if part is not None:
                chosen.append(part)
                taken.add(other.text)
                room -= _size(part, count)
    # The counts of the parts do not add up exactly to that of the whole.
    while (n_tokens := count(_joined(chosen))) > target_tokens and len(chosen) > len(present):
        chosen.pop()
    if not MIN_FILL * target_tokens <= n_tokens <= target_tokens:
        raise NotEnoughText(f"its paragraphs make {n_tokens} of {target_tokens} tokens")
    random.Random(by_hash("order", seed)).shuffle(chosen)
    return chosen


def _whole(paragraph: Paragraph, room: int, count: CountTokens) -> Paragraph | None:
    return paragraph if _size(paragraph, count) <= room else None


def _beginning(paragraph: Paragraph, room: int, count: CountTokens) -> Paragraph | None:
    """As many of the paragraph's first sentences as fit into `room`, None if not even one does."""
    best = None
    for _, end in sentence_spans(paragraph.text):
        part = replace(paragraph, text=paragraph.text[:end], questions=())
        if _size(part, count) > room:
            break
        best = part
    return best


def _siblings(pool: Sequence[Paragraph], gold: Paragraph, room: int, count: CountTokens) -> list[Paragraph]:
    kept: list[Paragraph] = []
    for other in sorted(pool, key=lambda p: by_hash(gold.id, p.id)):
        is_sibling = other.article == gold.article and other.text != gold.text
        if is_sibling and len(kept) < SIBLINGS_KEPT and (needed := _size(other, count)) <= room:
            kept.append(other)
            room -= needed
    return kept


def _haystack(chosen: Sequence[Paragraph], golds: Sequence[Paragraph]) -> Case:
    """The chosen paragraphs as one text, with the questions of `golds` and their answers' new places."""
    text = _joined(chosen)
    questions = {g.id: g.questions for g in golds}
    asked, start = [], 0
    for paragraph in chosen:
        for q in questions.get(paragraph.id, ()):
            moved = tuple(Gold(g.text, start + g.start) for g in q.golds)
            asked.append(Asked(replace(q, golds=moved), paragraph.id, start / len(text)))
        start += len(paragraph.text) + len(_GAP)
    return Case(chosen[0].lang, text, tuple(asked))


def _joined(paragraphs: Sequence[Paragraph]) -> str:
    return _GAP.join(p.text for p in paragraphs)


def _size(paragraph: Paragraph, count: CountTokens) -> int:
    return count(paragraph.text) + len(_GAP)  # a gap's line breaks are two tokens at most
