import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from xgen.read.answer import (
    Answer,
    Citation,
    DocumentReport,
    Reading,
    Span,
    Summary,
    SummarySentence,
    right_share_sentence,
)

CITATION = Citation("a heron\nstands", "a.pdf", 3, 12, 40, 54, verified=True)
ANSWER = Answer(
    question="Who?",
    answer="heron",
    score=0.7,
    right_share=0.62,
    citations=(CITATION,),
    unsupported=("a goose",),
    prompt_tokens=30,
    answer_tokens=4,
    read=(CITATION,),
)
READING = Reading(
    model="smollm2",
    how="head",
    why="you said so",
    documents=(
        DocumentReport("a.pdf", 12_000, 8_000, ("4,000 tokens after page 5", "page 2 has no text layer")),
    ),
    summary=Summary(
        (SummarySentence("A heron  stands.", CITATION), SummarySentence("A goose.", None)), "pages 1-5"
    ),
    answers=(ANSWER,),
    timing={"prefill_s": 1.5},
)


def test_print_says_everything_a_reader_must_know() -> None:
    printed = str(READING)
    for part in (
        *("smollm2, read from the head: you said so", "a.pdf: 8,000 of 12,000 tokens read"),
        *("left out: 4,000 tokens after page 5", "left out: page 2 has no text layer"),
        *("Summary (pages 1-5)", "A heron stands. [a.pdf, page 3, line 12]"),
        *("A goose. [no place in the document bears this out]", "Q: Who?\nA: heron"),
        *(
            "\u201ca heron stands\u201d\n   [a.pdf, page 3, line 12]",
            "not borne out by the document: a goose",
        ),
        "answers like this are right 6 times in 10",
        "read for this: a.pdf, page 3, line 12",
        "30 tokens in, 4 out",
    ):
        assert part in printed


def test_not_found_is_an_answer() -> None:
    printed = str(replace(ANSWER, answer=None, citations=(), unsupported=()))
    assert "A: Not in this document." in printed
    assert "\u201c" not in printed


def test_evidence_that_says_something_else_stands_beside_the_answer() -> None:
    span = Span("grey\nheron", 0.8, CITATION)
    printed = str(replace(ANSWER, right_share=None, evidence=span, cut=True))
    assert "the evidence says: \u201cgrey heron\u201d (answers like this are right 8 times in 10)" in printed
    assert "cut at 4 tokens; --max-answer-tokens takes more" in printed
    assert "the evidence says" not in str(ANSWER)
    assert "cut at" not in str(ANSWER)


def test_how_it_is_read_comes_first_and_how_much_last() -> None:
    lines = str(READING).splitlines()
    assert lines[:2] == ["smollm2, read from the head: you said so", "a.pdf: 12,000 tokens"]
    assert lines[-1] == "a.pdf: 8,000 of 12,000 tokens read"


def test_what_is_not_verbatim_is_never_printed_as_a_quotation() -> None:
    printed = str(replace(CITATION, verified=False))
    assert "\u201c" not in printed
    assert "the words differ there" in printed


def test_a_place_names_only_what_the_format_has() -> None:
    assert replace(CITATION, page=None).place == "a.pdf, line 12"
    assert replace(CITATION, page=None, line=None).place == "a.pdf"


def test_json_round_trips_and_keeps_the_promised_keys() -> None:
    value = READING.to_json()
    assert json.loads(json.dumps(value)) == value
    assert list(value) == ["model", "how", "why", "documents", "summary", "answers", "timing"]
    assert value["documents"][0]["dropped"] == list(READING.documents[0].dropped)
    assert value["answers"][0]["citations"][0]["quote"] == "a heron\nstands", (
        "indices hold for the quote as it is"
    )
    assert replace(READING, summary=None).to_json()["summary"] is None


@given(st.floats(0, 1))
def test_law_a_share_is_said_to_the_nearest_tenth(share: float) -> None:
    times = int(right_share_sentence(share).split()[-4])
    assert 0 <= times <= 10
    assert abs(share - times / 10) <= 0.05 + 1e-9
