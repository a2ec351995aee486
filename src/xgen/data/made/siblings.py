"""Absent facts that look present: people's questions, where their paragraph is missing and its kin stand.

The text has the paragraphs that share most with the question, of the same article where it has several, but
not the one that answers it. What those paragraphs do answer is asked beside it, in the same text: that a text
of this make is before the reader tells nothing of the answer.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from xgen.data.made.page import GAP, Asked, Page, common_licence
from xgen.data.made.texts import Text, drawn_length

CHARACTERS = (1_200, 30_000)
"""A text's length, drawn log-uniform."""

MOST_KIN = 5
ABSENT_SHARE = 0.25
LOOKS_PRESENT = 0.33
MOST_ASKED = 24
LONGEST_ANSWER = 60
TELLING = 6.0
"""What a question must share with its own text, as the sum of logarithms of how rare its words are: there are
those like "Who is the wife?" that do not say what they are about."""
LONGEST_TEXT = 4_000

_WORDS = re.compile(r"[^\W_]+")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]")


def stems(text: str) -> set[str]:
    """The words of a text cut to five letters, in lower case; of Chinese and Japanese the pairs of signs."""
    found = set()
    for word in _WORDS.findall(text.casefold()):
        if _WIDE.search(word):
            found |= {word[i : i + 2] for i in range(max(1, len(word) - 1))}
        else:
            found.add(word[:5])
    return found


class Library:
    """Texts of one language with extractive questions, and how much a word tells of a text."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.texts = [text for text in texts if spans(text) and len(text.text) <= LONGEST_TEXT]
        self.stems = [stems(f"{text.title} {text.text}") for text in self.texts]
        self._held_by: dict[str, list[int]] = {}
        for index, found in enumerate(self.stems):
            for stem in found:
                self._held_by.setdefault(stem, []).append(index)

    def weight(self, stem: str) -> float:
        """The logarithm of how rare a stem is among the texts; 0 for one that none has."""
        n = len(self._held_by.get(stem, ()))
        return math.log(len(self.texts) / n) if n else 0.0

    def weigh(self, stems: Iterable[str]) -> float:
        """The weights of stems in all, the same in whatever order they come."""
        return math.fsum(map(self.weight, stems))

    def overlap(self, asked: set[str], index: int) -> float:
        """What a question's stems and a text have in common, rare ones counting most."""
        return self.weigh(asked & self.stems[index])

    def nearest(self, asked: set[str], n: int) -> list[int]:
        """The `n` texts that share most with a question, the best first."""
        score: Counter[int] = Counter()
        for stem in sorted(asked):
            if (weight := self.weight(stem)) > 1.5:
                for index in self._held_by[stem]:
                    score[index] += weight  # type: ignore[assignment]
        return [index for index, _ in score.most_common(n)]

    @cached_property
    def kin(self) -> dict[str, list[int]]:
        """The texts of each title."""
        kin: dict[str, list[int]] = {}
        for index, text in enumerate(self.texts):
            if text.title:
                kin.setdefault(text.title, []).append(index)
        return kin


def pages(language: str, texts: Sequence[Text], n_pages: int, seed: int) -> Iterator[Page]:
    """At most `n_pages` texts of kin with questions, each for another missing paragraph."""
    library = Library(texts)
    order = list(range(len(library.texts)))
    random.Random(f"siblings {language} {seed}").shuffle(order)
    n_made = 0
    for missing in order:
        page = _page(language, library, missing, seed)
        if page is not None:
            n_made += 1
            yield page
        if n_made == n_pages:
            return


def spans(text: Text) -> list[Mapping[str, Any]]:
    """The extractive questions of a text whose answers stand where they should; the first is short enough."""
    return [question for question in text.questions if _is_span(question, text.text)]


def _is_span(question: Mapping[str, Any], text: str) -> bool:
    match question:
        case {"type": "extractive", "question": str(), "answers": [{"text": str(said)}, *_] as answers}:
            return 0 < len(said) <= LONGEST_ANSWER and all(_stands(answer, text) for answer in answers)
    return False


def _stands(answer: object, text: str) -> bool:
    match answer:
        case {"text": str(said), "start": int(start)}:
            return start >= 0 and text[start : start + len(said)] == said
    return False


def _stems_of(question: Mapping[str, Any]) -> set[str]:
    """Those of a question, or of `fits` in its place where its own words are of another language."""
    return stems(question.get("fits", question["question"]))


def _page(language: str, library: Library, missing: int, seed: int) -> Page | None:
    text = library.texts[missing]
    draw = random.Random(f"siblings {text.id} {seed}")
    kin = [index for index in library.kin.get(text.title, ()) if index != missing]
    near = [i for asked in spans(text) for i in library.nearest(_stems_of(asked), 6) if i != missing]
    kin = list(dict.fromkeys(draw.sample(kin, min(len(kin), 14)) + near))
    told = [str(answer["text"]).casefold() for asked in spans(text)[:3] for answer in asked["answers"]]
    present = [i for i in kin if not any(answer in library.texts[i].text.casefold() for answer in told)]
    present = present[: draw.randint(1, MOST_KIN)]
    if not present:
        return None
    gone = {index for index in (missing, *kin) if index not in present}
    texts_gone = {library.texts[index].text for index in gone}
    room = drawn_length(language, draw, CHARACTERS) - sum(len(library.texts[i].text) for i in present)
    while room > 0:
        other = draw.randrange(len(library.texts))
        room -= len(library.texts[other].text)
        if room > 0 and library.texts[other].text not in texts_gone and other not in present:
            present.append(other)
    draw.shuffle(present)
    whole, starts = _joined([library.texts[index].text for index in present])
    answered = _answered(library, present, starts)
    answered = draw.sample(answered, min(len(answered), MOST_ASKED))
    absent = _absent(library, gone, present, whole)
    if not answered or not absent:
        return None
    n_absent = math.ceil(len(answered) * ABSENT_SHARE / (1 - ABSENT_SHARE))
    questions = [*answered, *(Asked(question, "unanswerable") for question in absent[:n_absent])]
    draw.shuffle(questions)
    licence = common_licence(library.texts[index].licence for index in present)
    name = f"siblings-{text.id}"
    return Page(name, language, name, whole, licence, tuple(questions))


def _absent(library: Library, gone: Collection[int], present: Sequence[int], whole: str) -> list[str]:
    """Questions of the texts that are gone: those that share most with one that is there come first.

    Only those of which a third, by weight, is there, while the words of no answer are.
    """
    folded = whole.casefold()
    known = {question["question"] for index in present for question in library.texts[index].questions}
    found: list[tuple[float, str]] = []
    for index in sorted(gone):
        for question in spans(library.texts[index]):
            words = _stems_of(question)
            total = library.weigh(words)
            shared = max(library.overlap(words, other) for other in present)
            is_told = any(_is_told(str(a["text"]), library, present, folded) for a in question["answers"])
            is_near = total >= TELLING and shared >= LOOKS_PRESENT * total
            if is_near and not is_told and question["question"] not in known:
                found.append((-shared / total, question["question"]))
    return list(dict.fromkeys(question for _, question in sorted(found)))


def _is_told(answer: str, library: Library, present: Sequence[int], folded: str) -> bool:
    """Whether an answer stands in the text, or the half of its words in one paragraph."""
    words = stems(answer)
    total = library.weigh(words)
    return answer.casefold() in folded or any(
        library.overlap(words, index) >= total / 2 > 0 for index in present
    )


def _answered(library: Library, present: Sequence[int], starts: Sequence[int]) -> list[Asked]:
    """Questions of the texts that are there, of those only that fit their own text best."""
    found = []
    for index, start in zip(present, starts, strict=True):
        for question in spans(library.texts[index]):
            asked = _stems_of(question)
            own = library.overlap(asked, index)
            others = [library.overlap(asked, other) for other in present if other != index]
            if own >= TELLING and all(own > 1.25 * other for other in others):
                answer = question["answers"][0]
                place = (start + answer["start"], start + answer["start"] + len(answer["text"]))
                found.append(Asked(question["question"], "extractive", answer["text"], (place,)))
    return found


def _joined(parts: Sequence[str]) -> tuple[str, list[int]]:
    starts, at = [], 0
    for part in parts:
        starts.append(at)
        at += len(part) + len(GAP)
    return GAP.join(parts), starts
