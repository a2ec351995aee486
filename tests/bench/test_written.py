"""Questions that a model writes: what a reply proposes, what the reader must hold, and the rows of asking."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import written
from hypothesis import given
from hypothesis import strategies as st

from xgen.data.pack import Piece, Row, lay

TEXT = "Ada Lovelace was born in London in 1815. Her mother taught her mathematics."


def test_a_reply_proposes_questions_whose_answers_stand_in_the_text() -> None:
    reply = (
        "Where was Ada Lovelace born? | London\nWhere was Ada Lovelace born? | 1815\n\n"
        "Who taught her? Her mother\nWho taught her? | her father\nWas it in 1815? | 1815\nWhat was told? | "
        + "Her mother taught her "
        * 4
    )
    found, lost = written.proposals(reply, TEXT)
    assert found == [("Where was Ada Lovelace born?", "London")]
    assert lost == {
        "twice": 1,
        "no question | answer": 1,
        "the answer is not in the text": 2,
        "the question holds its answer": 1,
    }


class Words:
    """Prompts whose ids are made of the words' lengths: enough to see what goes where."""

    class words:
        free, quote = "free", "quote"

    def document_ids(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def question_ids(self, wording: str, question: str) -> list[int]:
        return [90, len(wording), *(len(word) for word in question.split())]

    def reply_ids(self, wording: str, reply: str) -> list[int]:
        return [*(len(word) for word in reply.split()), 99]


def test_a_question_stays_if_both_replies_hold_and_no_other_has_its_answer() -> None:
    def question(text: str, answer: str) -> dict[str, object]:
        return {"question": text, "answers": [{"text": answer}]}

    asked = [question("one", "A b"), question("two", "A b"), question("three", "c"), question("four", "d")]
    texts = [
        {"id": "x", "text": "A b c d", "questions": asked},
        {"id": "y", "text": "e f", "questions": asked[2:]},
    ]

    def holds(rows: Sequence[Row]) -> Iterator[list[bool]]:
        assert len(rows) == 1
        yield [True, True, True, True, False, True, True, True, True, False, False, False]

    kept = list(written.check(texts, Words(), holds))  # type: ignore[arg-type]
    assert [(t["id"], [q["question"] for q in t["questions"]]) for t in kept] == [("x", ["one", "four"])]


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 99), min_size=1, max_size=8),
            st.lists(
                st.tuples(
                    st.lists(st.integers(0, 99), min_size=1, max_size=5),
                    st.lists(st.integers(0, 99), min_size=1, max_size=4),
                ),
                min_size=1,
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_reader_is_asked_in_the_rows_that_it_was_trained_on(
    groups: list[tuple[list[int], list[tuple[list[int], list[int]]]]],
) -> None:
    asked = [
        written.Group(head, [(prompt + reply, len(prompt)) for prompt, reply in parts])
        for head, parts in groups
    ]
    rows, held = written.rows_of(asked, 64)
    assert [index for here in held for index in here] == list(range(len(asked)))
    records = [
        [(group.head, len(group.head)), *group.parts] for group in asked
    ]  # each part with where its reply begins, as a corpus stores a record
    tokens: Any = SimpleNamespace(
        name="chat.en",
        ids=np.array([i for parts in records for ids, _ in parts for i in ids], np.int32),
        trained=np.array(
            [j >= n for parts in records for ids, n in parts for j in range(len(ids))], np.uint8
        ),
        starts=np.cumsum([0, *(sum(len(ids) for ids, _ in parts) for parts in records)]),
        parts=np.array([(0, len(ids)) for parts in records for ids, _ in parts]),
        part_starts=np.cumsum([0, *(len(parts) for parts in records)]),
    )
    for row, here in zip(rows, held, strict=True):
        sizes = [len(asked[i].head) + sum(len(part) for part, _ in asked[i].parts) for i in here]
        trained_row = lay([Piece(tokens, i, 0, n) for i, n in zip(here, sizes, strict=True)], 64, 0)
        for field in ("ids", "targets", "segment", "context", "position"):
            ours, theirs = getattr(row, field), getattr(trained_row, field)
            if field == "position":
                ours, theirs = ours[row.segment >= 0], theirs[row.segment >= 0]
            np.testing.assert_array_equal(ours, theirs, err_msg=field)


def test_a_text_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="text 0 and its questions have 6 tokens; a row has 5"):
        written.rows_of([written.Group([1, 2, 3], [([4, 5, 6], 2)])], 5)
