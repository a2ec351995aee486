"""Documents with questions, as lines of JSON have them, checked and cut to a length that can be read.

    {"id": "0/3", "lang": "en", "title": "Warsaw", "text": "...", "questions": [
        {"id": "q1", "question": "Who ...?", "type": "extractive",
         "answers": [{"text": "Chopin", "start": 118}]}]}

Types: `extractive` (the answer stands in the text: `text[start:start+len(answer)]` is it), `unanswerable` (no
answers), `yesno`, `free`, `choice` (with `choices`) and `summary` (the question may be empty). `evidence`
or `section`, lists of [start, end], say where the grounds of an answer in other words stand.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import east_asian_width

from xgen.data.chats import UNKNOWN_LANGUAGE, Fault, parse, rejected
from xgen.data.document import Document, Rejected
from xgen.text.tokenizer import Tokenizer

KINDS = ("extractive", "unanswerable", "yesno", "choice", "free", "summary")
SUMMARIZE = "Summarize the document."
"""What is asked where a summary has no question."""

WIDE = 3
"""Characters that a Chinese or Japanese one counts as, where an answer's length is limited."""

_LINE_OR_SENTENCE_END = re.compile(r"\n|[.!?…।][\"'”’»)\]]?\s|[。！？][」』”）]?")


@dataclass(frozen=True)
class Question:
    """One question. `answer` is None where the document has none.

    `places` are the characters [start, end) of the document that an answer rests on; empty: all of it.
    """

    id: str
    text: str
    kind: str
    answer: str | None
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Passage:
    """A document, or a stretch of one, with its questions.

    Those of the same `title` are kin. `n_tokens` is about what it has; 0: nobody counted.
    """

    document: Document
    title: str
    questions: tuple[Question, ...]
    n_tokens: int = 0


def read_passage(
    document: Document, kinds: tuple[str, ...], longest_answer: int
) -> Iterator[Passage | Rejected]:
    """The passage that a line of JSON is, if any of its questions can be asked, and those that cannot.

    A question's first answer of at most `longest_answer` characters is taken; only extractive ones are
    limited. Rejected: not_json, no_document, empty_document, and of questions malformed_question,
    kind_left_out, answer_not_in_text, no_answer, long_answer; no_question where none is left.
    """
    try:
        table = parse(document.text)
        text, asked = table.get("text"), table.get("questions")
        if not isinstance(text, str) or not isinstance(asked, list):
            raise Fault("no_document")
        if not text.strip():
            raise Fault("empty_document")
    except Fault as fault:
        yield rejected(document, str(fault), document.text)
        return
    plain = replace(document, text=text, language=document.language or UNKNOWN_LANGUAGE)
    questions = []
    for number, each in enumerate(asked):
        fields = each if isinstance(each, dict) else {}
        name = str(fields.get("id", number))
        try:
            questions.append(_question(name, fields, text, kinds, longest_answer))
        except Fault as fault:
            yield rejected(plain, str(fault), str(fields.get("question", each)), name)
    title = table.get("title")
    if questions:
        yield Passage(plain, title if isinstance(title, str) and title else document.id, tuple(questions))
    else:
        yield rejected(plain, "no_question", text)


def cut_passage(passage: Passage, tokenizer: Tokenizer, most_tokens: int) -> Iterator[Passage | Rejected]:
    """The passage itself, or stretches of it of about `most_tokens`, each with the questions it answers.

    A stretch ends after a line or a sentence where one ends in its last quarter. What a document does not
    answer, none of its stretches does: the first one is asked. Rejected are questions about all of a document
    that is cut (document_too_long) and those whose grounds fall apart (answer_across_a_cut).
    """
    text, document = passage.document.text, passage.document
    _, offsets = tokenizer.encode_with_offsets(text)
    if len(offsets) <= most_tokens:
        yield replace(passage, n_tokens=len(offsets))
        return
    left = list(passage.questions)
    for number, (start, end, n_tokens) in enumerate(_stretches(text, offsets, most_tokens)):
        inside = [q for q in left if _rests_in(q, start, end, first=number == 0)]
        left = [q for q in left if q not in inside]
        if inside:
            part = replace(document, text=text[start:end], id=f"{document.id}[{start}:{end}]")
            moved = tuple(
                replace(q, places=tuple((a - start, b - start) for a, b in q.places)) for q in inside
            )
            yield Passage(part, passage.title, moved, n_tokens)
    for question in left:
        reason = "answer_across_a_cut" if question.places else "document_too_long"
        yield rejected(document, reason, question.text, question.id)


def width(text: str) -> int:
    """Characters of a text, where wide ones count as WIDE."""
    return sum(WIDE if east_asian_width(character) in "WF" else 1 for character in text)


def _question(
    name: str, fields: dict[str, Any], text: str, kinds: tuple[str, ...], longest_answer: int
) -> Question:
    kind, asked, given = fields.get("type"), fields.get("question"), fields.get("answers")
    answers = [
        answer
        for answer in (given if isinstance(given, list) else [])
        if isinstance(answer, dict) and isinstance(answer.get("text"), str)
    ]
    if kind not in KINDS or not isinstance(asked, str):
        raise Fault("malformed_question")
    if not asked.strip():
        if kind != "summary":
            raise Fault("malformed_question")
        asked = SUMMARIZE
    if kind not in kinds:
        raise Fault("kind_left_out")
    if kind == "unanswerable":
        if answers:
            raise Fault("malformed_question")
        return Question(name, asked, kind, None)
    if not any(a["text"].strip() for a in answers):
        raise Fault("no_answer")
    if kind == "extractive":
        return _extractive(name, asked, answers, text, longest_answer)
    if kind == "choice":
        choices = fields.get("choices")
        if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices) or not choices:
            raise Fault("malformed_question")
        asked = "\n".join([asked.strip(), *(f"- {choice}" for choice in choices)])
    places = _places(fields.get("evidence") or fields.get("section"), len(text))
    return Question(name, asked, kind, next(a["text"] for a in answers if a["text"].strip()), places)


def _extractive(
    name: str, asked: str, answers: list[dict[str, Any]], text: str, longest_answer: int
) -> Question:
    standing = []
    for answer in answers:
        said, start = answer["text"], answer.get("start")
        if not isinstance(start, int) or start < 0 or not said or text[start : start + len(said)] != said:
            raise Fault("answer_not_in_text")
        standing.append((said, start))
    for said, start in standing:
        if width(said) <= longest_answer:
            return Question(name, asked, "extractive", said, ((start, start + len(said)),))
    raise Fault("long_answer")


def _places(value: object, length: int) -> tuple[tuple[int, int], ...]:
    """Spans [start, end] of a text of `length` characters; none where they are not such."""
    places = []
    for span in value if isinstance(value, list) else []:
        match span:
            case [int(start), int(end)] if 0 <= start < end <= length:
                places.append((start, end))
            case _:
                return ()
    return tuple(places)


def _rests_in(question: Question, start: int, end: int, first: bool) -> bool:
    if question.kind == "unanswerable":
        return first
    return bool(question.places) and all(start <= a and b <= end for a, b in question.places)


def _stretches(
    text: str, offsets: Sequence[tuple[int, int]], most_tokens: int
) -> Iterator[tuple[int, int, int]]:
    """Consecutive stretches, tight, of at most `most_tokens` of the text's tokens: start, end, tokens."""
    begin = 0
    while begin < len(offsets):
        stop, end = len(offsets), len(text)
        if stop - begin > most_tokens:
            stop = begin + most_tokens * 3 // 4
            lowest, full = offsets[stop][0], offsets[begin + most_tokens][0]
            ends = [match.end() for match in _LINE_OR_SENTENCE_END.finditer(text, lowest, full)]
            lines = [end for end in ends if text[end - 1] == "\n"]
            end = (lines or ends or [full])[-1]
            while stop < len(offsets) and offsets[stop][0] < end:
                stop += 1
        start, tight_end = _tight(text, offsets[begin][0], end)
        if start < tight_end:
            yield start, tight_end, stop - begin
        begin = stop


def _tight(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    stretch = text[start:end]
    return start + len(stretch) - len(stretch.lstrip()), start + len(stretch.rstrip())
