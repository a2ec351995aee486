import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.errors import TooLong, XgenError
from xgen.read.sources import Sources
from xgen.read.window import DEFAULT_WINDOW, Plan, plan, tokens_inside, window_for
from xgen.text.document import Document

RESERVE = 100


def planned(n_tokens: int, how: str | None, default: str = "select", window: int = 1000) -> Plan:
    """A document of one token a character."""
    sources = Sources.of([Document("a.txt", "x" * n_tokens)])
    offsets = [(i, i + 1) for i in range(n_tokens)]
    return plan(sources, offsets, how, default, window, RESERVE, 2000)


def test_the_window_is_bounded_by_the_models() -> None:
    assert (window_for(4096, None), window_for(32_768, None)) == (4096, DEFAULT_WINDOW)
    assert (window_for(32_768, 32_768), window_for(32_768, 512)) == (32_768, 512)
    for asked in (511, 32_769, 0, -1):
        with pytest.raises(XgenError, match=f"{asked:,} tokens are asked for and the model's own window"):
            window_for(32_768, asked)


def test_whole_refuses_what_does_not_fit_with_its_numbers() -> None:
    assert planned(900, "whole").whole.n_tokens == 900
    with pytest.raises(TooLong, match="1,234 tokens and the window of 1,000 holds 900") as refused:
        planned(1234, "whole")
    for way_out in ("select", "head", "tail", "--window of up to 2,000"):
        assert way_out in refused.value.way_out
    with pytest.raises(TooLong) as refused:
        planned(2001, "whole", window=2000)
    assert "--window" not in refused.value.way_out


@pytest.mark.parametrize("how", ["whole", "head", "tail"])
def test_a_window_without_room_for_a_document_names_what_fills_it(how: str) -> None:
    with pytest.raises(TooLong, match="question and answer take 100 tokens and the window has 100"):
        planned(10, how, window=RESERVE)
    assert planned(10, None, "whole", window=RESERVE).how == "select"


@pytest.mark.parametrize(
    ("n_tokens", "default", "how"),
    [(900, "whole", "whole"), (901, "whole", "select"), (10, "select", "select"), (9999, "select", "select")],
)
def test_the_default_is_what_measures_better_where_it_fits(n_tokens: int, default: str, how: str) -> None:
    decided = planned(n_tokens, None, default)
    assert decided.how == how
    assert f"{n_tokens:,} tokens" in decided.why
    assert (decided.whole is None) == (how == "select")
    everything_for_rows = how == "select" and n_tokens <= 900
    assert (decided.for_rows is not None) == everything_for_rows
    assert planned(n_tokens, "select").for_rows is None


@pytest.mark.parametrize("how", ["head", "tail", "whole"])
def test_nothing_is_read_of_a_text_without_tokens(how: str) -> None:
    assert planned(0, how).whole.n_tokens == 0


def test_another_way_of_reading_is_refused() -> None:
    with pytest.raises(XgenError, match="'backwards' is not a way of reading"):
        planned(10, "backwards")


# tokens of several characters with gaps between them, as a tokenizer gives them
TOKENS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=60)


def placed(tokens: list[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    offsets, at = [], 0
    for gap, length in tokens:
        offsets.append((at + gap, at + gap + length))
        at += gap + length
    return "x" * at, offsets


@given(tokens=TOKENS, how=st.sampled_from(["head", "tail"]), room=st.integers(1, 70))
def test_law_head_and_tail_take_what_fits(tokens: list[tuple[int, int]], how: str, room: int) -> None:
    text, offsets = placed(tokens)
    decided = plan(Sources.of([Document("a", text)]), offsets, how, "select", room + RESERVE, RESERVE, 8192)
    kept = min(room, len(offsets))
    assert decided.whole is not None
    assert decided.whole.n_tokens == kept
    assert tokens_inside(offsets, decided.whole.start, decided.whole.end) == kept
    assert (decided.whole.start == 0) if how == "head" else (decided.whole.end == len(text))
    assert f"{kept:,} tokens" in decided.why


@given(tokens=TOKENS, start=st.integers(0, 99), length=st.integers(0, 99))
def test_law_tokens_are_counted_where_they_begin(
    tokens: list[tuple[int, int]], start: int, length: int
) -> None:
    _, offsets = placed(tokens)
    expected = sum(start <= begin < start + length for begin, _ in offsets)
    assert tokens_inside(offsets, start, start + length) == expected
