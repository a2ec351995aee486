"""Lines of questions: what is refused by name, which answer is taken, where long documents are cut."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.document import Document, Rejected
from xgen.data.questions import KINDS, Passage, Question, cut_passage, read_passage, width
from xgen.text.tokenizer import Tokenizer

TEXT = "Jan Brandt van der Meer sleeps in the tall house by the sea. 東京都千代田区丸の内一丁目九番"


def line(text: Any, questions: Any) -> Document:
    record = {"id": "1", "title": "House", "text": text, "questions": questions}
    return Document(json.dumps(record), "houses", "houses/1", "CC0-1.0", "en")


def asked(kind: str, question: str, *answers: str, **more: Any) -> dict[str, Any]:
    said = [{"text": answer} for answer in answers]
    return {"id": kind, "question": question, "type": kind, "answers": said, **more}


def standing(text: str, question: str, *answers: str) -> dict[str, Any]:
    said = [{"text": answer, "start": text.index(answer)} for answer in answers]
    return {"id": question, "question": question, "type": "extractive", "answers": said}


def read(document: Document, longest: int = 60) -> tuple[Passage | None, list[Rejected]]:
    found = list(read_passage(document, KINDS, longest))
    passages = [each for each in found if isinstance(each, Passage)]
    return passages[0] if passages else None, [each for each in found if isinstance(each, Rejected)]


@pytest.mark.parametrize(
    ("text", "questions", "reasons"),
    [
        (None, [], ["no_document"]),
        (" \n", [], ["empty_document"]),
        (TEXT, None, ["no_document"]),
        (TEXT, [], ["no_question"]),
        (TEXT, [3], ["malformed_question", "no_question"]),
        (TEXT, [asked("extractive", "Who?", "Jan")], ["answer_not_in_text", "no_question"]),
        (
            TEXT,
            [asked("extractive", "Who?") | {"answers": [{"text": "x", "start": -1}]}],
            ["answer_not_in_text", "no_question"],
        ),
        (TEXT, [asked("essay", "Who?", "x")], ["malformed_question", "no_question"]),
        (TEXT, [asked("yesno", " ", "yes")], ["malformed_question", "no_question"]),
        (TEXT, [asked("yesno", "Is it?")], ["no_answer", "no_question"]),
        (TEXT, [asked("yesno", "Is it?", " ")], ["no_answer", "no_question"]),
        (TEXT, [asked("yesno", "Is it?", "yes") | {"answers": 3}], ["no_answer", "no_question"]),
        (TEXT, [asked("unanswerable", "Is it?", "yes")], ["malformed_question", "no_question"]),
        (TEXT, [asked("choice", "Which?", "a")], ["malformed_question", "no_question"]),
        (TEXT, [standing(TEXT, "Who?", TEXT)], ["long_answer", "no_question"]),
    ],
)
def test_what_cannot_be_asked_is_named(text: Any, questions: Any, reasons: list[str]) -> None:
    passage, lost = read(line(text, questions))
    assert (passage, [each.reason for each in lost]) == (None, reasons)
    assert all(each.source == "houses" and each.id.startswith("houses/1") for each in lost)


def test_what_is_wrong_costs_the_question_only() -> None:
    passage, lost = read(line(TEXT, [asked("yesno", "Is it?"), asked("free", "Why?", "So.")]))
    assert passage is not None
    assert passage.questions == (Question("free", "Why?", "free", "So."),)
    assert passage.document == Document(TEXT, "houses", "houses/1", "CC0-1.0", "en")
    assert [(each.id, each.text) for each in lost] == [("houses/1#yesno", "Is it?")]


@pytest.mark.parametrize(
    ("longest", "answers"),
    [(23, ["Jan Brandt van der Meer", "東京都千代田区"]), (20, ["van der Meer"]), (11, [])],
)
def test_the_first_answer_that_is_short_enough_is_taken(longest: int, answers: list[str]) -> None:
    one = standing(TEXT, "Who?", "Jan Brandt van der Meer", "van der Meer")
    passage, lost = read(line(TEXT, [one, standing(TEXT, "Where?", "東京都千代田区")]), longest)
    told = passage.questions if passage else ()
    assert [question.answer for question in told] == answers
    assert [TEXT[a:b] for question in told for a, b in question.places] == answers
    assert sum(each.reason == "long_answer" for each in lost) == 2 - len(answers)
    assert width("ab東京") == 8


def test_a_document_that_fits_stays_whole(byte_tokenizer: Tokenizer) -> None:
    passage, _ = read(line(TEXT, [asked("free", "Why?", "So.")]))
    assert passage is not None
    (same,) = cut_passage(passage, byte_tokenizer, 500)
    assert isinstance(same, Passage)
    assert (same.document, same.questions, same.n_tokens) == (
        *(passage.document, passage.questions),
        len(TEXT.encode()),
    )


def items(n_sentences: int, seed: int, gap: str) -> Document:
    """A price list, with the price of each fifth item asked, and questions of other kinds."""
    rng = random.Random(seed)
    prices = [str(rng.randint(10, 99)) for _ in range(n_sentences)]
    text = gap.join(f"Item {i} costs {price} coins." for i, price in enumerate(prices))
    questions = []
    for i in range(0, n_sentences, 5):
        start = text.index(f"Item {i} costs ") + len(f"Item {i} costs ")
        answers = [{"text": prices[i], "start": start}]
        questions.append({"id": str(i), "question": f"Item {i}", "type": "extractive", "answers": answers})
    questions += [
        asked("unanswerable", "Who?"),
        asked("yesno", "Is it?", "yes"),
        asked("free", "What else?", "this", evidence=[[5, 30]]),
        asked("summary", "All of it?", "that", section=[[0, 9], [len(text) - 9, len(text)]]),
    ]
    return line(text, questions)


@given(n_sentences=st.integers(30, 90), seed=st.integers(0, 99), gap=st.sampled_from([" ", "\n", "\n\n"]))
@settings(deadline=None, max_examples=25)
def test_law_a_long_document_is_cut_where_its_answers_stay(
    byte_tokenizer: Tokenizer, n_sentences: int, seed: int, gap: str
) -> None:
    passage, _ = read(items(n_sentences, seed, gap))
    assert passage is not None
    found = list(cut_passage(passage, byte_tokenizer, 500))
    parts = [each for each in found if isinstance(each, Passage)]
    lost = {each.reason: each.text for each in found if isinstance(each, Rejected)}
    assert lost == {"document_too_long": "Is it?", "answer_across_a_cut": "All of it?"}
    told = [question for part in parts for question in part.questions]
    assert sorted(q.text for q in told) == sorted(
        q.text for q in passage.questions if q.text not in lost.values()
    )
    reached = 0
    for part in parts:
        text = part.document.text
        place = passage.document.text.index(text)
        assert place >= reached, "they are in order and apart"
        reached = place + len(text)
        assert len(text) <= 500
        assert (text[0], text[-1]) == ("I", "."), "they begin and end where sentences do"
        assert part.document.id == f"houses/1[{place}:{reached}]"
        for question in part.questions:
            if question.kind == "extractive":
                ((start, end),) = question.places
                assert text[start:end] == question.answer
                assert text[:start].endswith(f"{question.text} costs ")


def test_a_text_without_any_end_is_cut_where_it_is_full(byte_tokenizer: Tokenizer) -> None:
    text = "x" * 1000
    passage, _ = read(line(text, [standing(text, "Which?", "xxx"), asked("unanswerable", "Who?")]))
    assert passage is not None
    first, *others = cut_passage(passage, byte_tokenizer, 300)
    assert isinstance(first, Passage)
    assert (first.document.text, len(first.questions), others) == ("x" * 300, 2, [])
