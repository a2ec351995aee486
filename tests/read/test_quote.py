import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.bundle import Bundle
from xgen.engine.score import read_rows
from xgen.read.quote import Quoter, locate, sentence_around, tidy

EDGY = st.text(st.sampled_from('ab1(["“)]}」『「（）.,;:!?\'" \n\u2003\u0085\u3000。é日'), max_size=14)
TEXT = st.lists(
    st.sampled_from(
        [
            "The heron stands.",
            "Ada sat",
            " ",
            "\n",
            "\n\n",
            "\u2003",
            "Mr. Mill?",
            "今日は雨です。",
            "heron",
            "x",
        ]
    ),
    max_size=14,
).map("".join)


@given(EDGY)
def test_law_tidying_only_takes_from_the_ends(span: str) -> None:
    kept = tidy(span)
    assert kept in span
    assert tidy(kept) == kept
    assert kept == kept.strip()
    taken = span.replace(kept, "", 1) if kept else span
    assert not any(c.isalnum() for c in taken)
    assert not kept or kept[-1] not in ".,;:!?\"'。"


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        (' "Ada Moreau", ', "Ada Moreau"),
        ("Tesla (1856)", "Tesla (1856)"),
        ("in 1856)", "in 1856"),
        ("(in 1856", "in 1856"),
        ("(in 1856)", "(in 1856)"),
        ("f(x)).", "f(x))"),
        ("3.5 km.", "3.5 km"),
        ("「雨」。", "「雨」"),
        ("雨」", "雨"),
        ("«Ça va?»", "Ça va"),
        (" .,;", ""),
        (")", ""),
    ],
)
def test_brackets_stay_with_their_partners(span: str, kept: str) -> None:
    assert tidy(span) == kept


def test_the_occurrence_that_the_question_means() -> None:
    text = "In 1932 the mill burned. The bridge was opened in 1932. A ship sank in 1932."
    start, end = locate(text, "1932", "When was the bridge opened?", 0, len(text))
    assert (start, text[start:end]) == (text.index("1932", 10), "1932")
    assert locate(text, "1932", "When was it that a ship sank?", 0, len(text))[0] == text.rindex("1932")
    assert locate(text, "1932", "What of Mars?", 0, len(text))[0] == 3, "then the first"
    assert locate(text, "1932", "When did the mill burn down?", 10, len(text))[0] > 10, "within what was read"


def test_a_whole_word_goes_before_a_part() -> None:
    text = "Adamant people know Ada"
    assert locate(text, "Ada", "Who?", 0, len(text))[0] == text.rindex("Ada")
    assert locate("Adamant", "Ada", "Who?", 0, 7) == (0, 3)


def test_what_does_not_stand_there_has_no_place() -> None:
    with pytest.raises(ValueError, match="'Mars' does not stand"):
        locate("The heron stands.", "Mars", "Where?", 0, 17)
    with pytest.raises(ValueError, match="does not stand"):
        locate("The heron stands.", "heron", "Where?", 6, 17)


@given(
    text=TEXT,
    cuts=st.tuples(st.integers(0, 80), st.integers(1, 20)),
    bounds=st.tuples(*[st.integers(0, 9)] * 2),
)
def test_law_a_span_is_found_where_it_stands(
    text: str, cuts: tuple[int, int], bounds: tuple[int, int]
) -> None:
    span = tidy(text[cuts[0] : cuts[0] + cuts[1]])
    if not span:
        return
    begin, stop = max(0, cuts[0] - bounds[0]), min(len(text), cuts[0] + cuts[1] + bounds[1])
    start, end = locate(text, span, "the heron?", begin, stop)
    assert text[start:end] == span
    assert begin <= start < end <= stop
    a, b = sentence_around(text, start, end)
    assert a <= start < end <= b
    assert text[a:b] == text[a:b].strip()
    assert "\n\n" not in text[a:start] + text[end:b]


def test_closing_ids_begin_with_the_closing_mark(tiny: Bundle) -> None:
    ids = set(Quoter(tiny).closing_ids.tolist())
    rows = range(tiny.shape.vocab_size)
    assert ids == {i for i in rows if tiny.tokenizer.token_bytes(i)[:1] == b'"'}
    assert tiny.tokenizer.encode('"')[0] in ids


def test_law_candidates_stand_in_their_text(tiny: Bundle) -> None:
    quoter = Quoter(tiny)

    @given(texts=st.lists(TEXT | EDGY, min_size=1, max_size=3))
    @settings(deadline=None, max_examples=30)
    def law(texts: list[str]) -> None:
        prompts = [tiny.tokenizer.encode(f"{text} it is " + "so " * i) for i, text in enumerate(texts)]
        rows, logits, _ = read_rows(tiny.model, prompts, [1] * len(texts), 6 * 8)
        found = quoter.candidates(rows, logits, [quoter.rule(text) for text in texts], 6, 8)
        for text, candidates in zip(texts, found, strict=True):
            spans = [candidate.text for candidate in candidates]
            assert len(set(spans)) == len(spans)
            assert all(span and span in text and tidy(span) == span for span in spans)
            values = [candidate.logprob for candidate in candidates]
            assert values == sorted(values, reverse=True)
            assert all(1 <= candidate.n_tokens <= 8 for candidate in candidates)

    law()


def test_rows_of_the_model_without_a_token_are_never_written(tiny: Bundle) -> None:
    vocabulary = Quoter(tiny).vocabulary
    assert len(vocabulary.tokens) == tiny.shape.vocab_size
    nameless = [i for i in range(tiny.shape.vocab_size) if not tiny.tokenizer.token_bytes(i)]
    assert torch.tensor(vocabulary.has_text).logical_not().nonzero().flatten().tolist() == nameless
