from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.text.reply import Reply

LETTERS = st.text("ab. \n", max_size=14)
STOPS = st.lists(st.text("ab. ", min_size=1, max_size=4), max_size=3)


def shown(reply: Reply, pieces: list[str]) -> list[str]:
    return [*map(reply, pieces), reply.rest()]


def until_complete(text: str, stops: list[str]) -> str:
    """Letter by letter: the text before the stop string that is complete first."""
    for end in range(1, len(text) + 1):
        complete = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: min(complete)]
    return text


@given(text=LETTERS, cuts=st.lists(st.integers(0, 14), max_size=5), stops=STOPS)
def test_law_pieces_decide_nothing_and_no_stop_string_begins_to_show(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    reply = Reply(stops=stops)
    expected = until_complete(text, stops)
    assert "".join(shown(reply, pieces)) == expected
    assert reply.ended == (expected != text or any(text.endswith(stop) for stop in stops))
    # what was shown at any time is what will have been shown: nothing is taken back
    reply, so_far = Reply(stops=stops), ""
    for end, letter in enumerate(text, 1):
        so_far += reply(letter)
        assert expected.startswith(so_far)
        held = text[len(so_far) : end]
        if not reply.ended:  # and no more is held back than may become a stop string
            assert not held or any(stop.startswith(held) for stop in stops)


@given(before=st.sampled_from(["", " ", "\n", " \n "]), after=LETTERS, cut=st.integers(0, 30))
def test_law_the_opening_is_taken_off_however_it_comes(before: str, after: str, cut: int) -> None:
    text = f"{before}Assistant:{after}"
    assert "".join(shown(Reply(" Assistant: "), [text[:cut], text[cut:]])) == after.lstrip()
    assert "".join(shown(Reply(" Assistant: "), list(text))) == after.lstrip()


@given(
    text=st.lists(st.sampled_from([" ", "Assist", "Assistant", "ant", ":", "x", "\n"]), max_size=6).map(
        "".join
    )
)
def test_law_another_beginning_stays_as_it_is(text: str) -> None:
    found = "".join(shown(Reply(" Assistant: "), list(text)))
    begins = text.lstrip().startswith("Assistant:")
    assert found == (text.lstrip().removeprefix("Assistant:").lstrip() if begins else text)


def test_an_opening_before_a_stop_string() -> None:
    reply = Reply(" Assistant: ", ["###"])
    assert shown(reply, [" Assist", "ant", ": Four", ".#", "#", "# Human: no"]) == [
        "",
        "",
        "Four",
        ".",
        "",
        "",
        "",
    ]
    assert reply.ended


def test_an_empty_stop_string_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        Reply(stops=["x", ""])
