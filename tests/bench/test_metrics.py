import math
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics import Estimate, estimate, score, set_f1, units

# What the scoring script of SQuAD gives for each pair: (answer, gold, exact, F1).
GOLDEN = [
    ("Denver Broncos", "Denver Broncos", 1, 1.0),
    ("The Denver Broncos!", "denver broncos", 1, 1.0),
    ("  the   Broncos ", "A Broncos", 1, 1.0),
    ("Broncos", "Denver Broncos", 0, 2 / 3),
    ("the Denver Broncos of Colorado", "Denver Broncos", 0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
    ("Panthers", "Denver Broncos", 0, 0.0),
    ("anthem", "them", 0, 0.0),  # an article inside a word stays
    ("$1,200", "1200", 1, 1.0),
    ("1998-2001", "19982001", 1, 1.0),  # ASCII punctuation goes without leaving a space
    ("1998–2001", "19982001", 0, 0.0),  # a dash outside ASCII stays in English
    ("don't", "dont", 1, 1.0),
    ("dog dog cat", "dog", 0, 2 * (1 / 3) * 1 / (1 / 3 + 1)),  # a repeated word counts once
    ("the", "a", 1, 1.0),  # both are empty: the rule of SQuAD 2.0
    ("", "cat", 0, 0.0),
]


@pytest.mark.parametrize(("answer", "gold", "exact", "f1"), GOLDEN)
def test_against_the_squad_script(answer: str, gold: str, exact: int, f1: float) -> None:
    scored = score(answer, [gold])
    assert scored.exact == exact
    assert scored.f1 == pytest.approx(f1)


words = st.lists(st.sampled_from(["oak", "elm", "fir", "12", "1912"]), max_size=6)


@given(words, words)
def test_against_precision_and_recall_by_pairing(answer: list[str], gold: list[str]) -> None:
    """F1 by striking out equal words one by one, instead of by counting."""
    left, paired = list(gold), 0
    for word in answer:
        if word in left:
            left.remove(word)
            paired += 1
    if not answer or not gold:
        expected = float(answer == gold)
    elif not paired:
        expected = 0.0
    else:
        precision, recall = paired / len(answer), paired / len(gold)
        expected = 2 * precision * recall / (precision + recall)
    assert score(" ".join(answer), [" ".join(gold)]).f1 == pytest.approx(expected)


@given(words, st.lists(words, min_size=1, max_size=3))
def test_law_the_best_gold_counts(answer: list[str], golds: list[list[str]]) -> None:
    texts = [" ".join(gold) for gold in golds]
    each = [score(" ".join(answer), [text]) for text in texts]
    best = score(" ".join(answer), texts)
    assert best.f1 == max(s.f1 for s in each)
    assert best.exact == max(s.exact for s in each)
    assert best.holds == max(s.holds for s in each)


@given(words, words, words)
def test_law_a_text_holds_what_stands_in_it(before: list[str], gold: list[str], after: list[str]) -> None:
    whole = " ".join([*before, *gold, *after])
    assert score(whole, [" ".join(gold)]).holds == float(bool(gold) or not whole)


def test_holds_wants_whole_words_in_one_run() -> None:
    assert score("It was 1912.", ["12"]).holds == 0
    assert score("red and blue", ["red blue"]).holds == 0
    assert score("He said: 'Red, Blue!'", ["red blue"]).holds == 1


def test_no_answer_scores_nothing() -> None:
    assert score(None, ["the"]) == score("x", ["y"])


def test_chinese_and_japanese_by_characters() -> None:
    # 3 of 4 characters given are wanted, 3 of 3 wanted are given
    assert score("长宁区。在", ["长宁区"], "zh").f1 == pytest.approx(2 * 0.75 * 1 / 1.75)
    assert score("「1883年」", ["1883 年"], "ja").exact == 1
    assert score("长宁区在", ["长宁区"], "zh").holds == 1


def test_other_languages_lose_their_own_punctuation_and_keep_their_articles() -> None:
    assert units("«la Géorgie» — l’Inquisition", "fr") == ["la", "géorgie", "linquisition"]
    assert units("„Wort“", "de") == ["wort"]
    assert units("«la»", "en") == ["«la»"]


def test_sets_of_names() -> None:
    assert set_f1({"a", "b"}, {"a", "b"}) == 1
    assert set_f1({"a"}, {"a", "b", "c"}) == pytest.approx(2 * 1 * (1 / 3) / (4 / 3))
    assert set_f1(set(), set()) == 1
    assert set_f1(set(), {"a"}) == 0


def test_against_the_normal_interval_of_a_share() -> None:
    """With one question a document the bootstrap must give the textbook interval of a share."""
    values = [1.0] * 240 + [0.0] * 160
    got = estimate(values, [str(i) for i in range(400)])
    half = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert got.mean == 0.6
    assert got.low == pytest.approx(0.6 - half, abs=0.008)
    assert got.high == pytest.approx(0.6 + half, abs=0.008)


def test_law_repeating_each_question_of_a_document_tells_nothing_new() -> None:
    draw = random.Random(3)
    values = [float(draw.random() < 0.3) for _ in range(60)]
    names = [str(i) for i in range(60)]
    assert estimate(values * 9, names * 9) == estimate(values, names)


def test_against_every_resample_of_three_documents() -> None:
    """Documents of unequal size: all 27 draws written out."""
    documents = {"a": [1.0], "b": [0.0, 0.0, 1.0], "c": [0.5, 0.5]}
    values = [v for vs in documents.values() for v in vs]
    names = [n for n, vs in documents.items() for _ in vs]
    means = []
    for drawn in product(documents, repeat=3):
        pooled = [v for name in drawn for v in documents[name]]
        means.append(sum(pooled) / len(pooled))
    got = estimate(values, names, n_resamples=50_000)
    assert got.mean == pytest.approx(3 / 6)
    assert got.low == pytest.approx(min(means))
    assert got.high == pytest.approx(max(means))


def test_nothing_asked_has_no_mean() -> None:
    got = estimate([], [])
    assert isinstance(got, Estimate)
    assert math.isnan(got.mean)


def test_values_without_their_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values for 1"):
        estimate([1.0, 0.0], ["a"])
