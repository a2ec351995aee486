import examples
import pytest

from xgen.read.answer import Answer

ASKED = [asked for source in examples.SOURCES for asked in source.asked]


def test_twenty_questions_four_of_them_without_an_answer() -> None:
    assert len(examples.SOURCES) == 5
    assert len({question for question, _ in ASKED}) == 20
    assert sum(gold is None for _, gold in ASKED) == 4


@pytest.mark.parametrize(
    ("gold", "said", "right"),
    [
        ("two", "There is a quorum of two.", True),
        ("two", "The network", False),
        ("C++", "the C++ language", True),
        ("C++", "C", False),
        (None, None, True),
        (None, "Much", False),
        ("thirty", None, False),
    ],
)
def test_an_answer_is_right_if_it_holds_the_words(gold: str | None, said: str | None, right: bool) -> None:
    assert examples.is_right(("?", gold), Answer("?", said)) is right
