import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.read.select import PASSAGE_TOKENS, Passage, Ranking, rank_passages
from xgen.read.sources import Sources
from xgen.text.document import Document
from xgen.text.sentences import sentence_spans

PIECES = st.sampled_from(
    [
        "The heron stands. ",
        "Wer weiß? ",
        "今日は雨です。",
        "\n\n",
        "\n",
        " " * 9,
        "# Head\n",
        "x" * 300,
        "😀 ",
    ]
)
RUNS = {
    "heron": ["<her", "hero", "eron", "ron>"],
    "reed": ["<ree", "reed", "eed>"],
    "mill": ["<mil", "mill", "ill>"],
    "sea": ["<sea", "sea>"],
    "town": ["<tow", "town", "own>"],
    "river": ["<riv", "rive", "iver", "ver>"],
    "moon": ["<moo", "moon", "oon>"],
}
TEXTS = st.lists(st.lists(PIECES, max_size=30).map("".join), min_size=1, max_size=3)
WORD = st.sampled_from(["heron", "reed", "mill", "sea", "town", "river"])
CORPUS = st.lists(st.lists(WORD, min_size=1, max_size=9), min_size=1, max_size=8)
QUESTION = st.lists(st.sampled_from(["heron", "reed", "mill", "moon"]), min_size=1, max_size=4, unique=True)


def a_token_a_character(text: str) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(len(text))]


def ranking_of(texts: Sequence[str]) -> Ranking:
    passages = tuple(Passage(100 * i, 100 * i + len(text), 1) for i, text in enumerate(texts))
    return Ranking(passages, tuple(texts))


@given(texts=TEXTS)
@settings(deadline=None)
def test_law_passages_hold_everything_once(texts: list[str]) -> None:
    sources = Sources.of([Document(str(i), text) for i, text in enumerate(texts)])
    ranking = rank_passages(sources, a_token_a_character(sources.text))
    reached = 0
    for passage, text in zip(ranking.passages, ranking.texts, strict=True):
        assert not sources.text[reached : passage.start].strip()
        assert text == sources.text[passage.start : passage.end]
        assert passage.n_tokens == len(text) > 0
        assert sources.index_at(passage.start) == sources.index_at(passage.end - 1)
        # only what has no inner border may be longer
        assert passage.n_tokens <= PASSAGE_TOKENS or len(sentence_spans(text)) == 1
        reached = passage.end
    assert not sources.text[reached:].strip()


@given(corpus=CORPUS, question=QUESTION)
@settings(deadline=None, max_examples=60)
def test_against_the_formula_of_bm25(corpus: list[list[str]], question: list[str]) -> None:
    """Lucene's form: idf = ln(1 + (N - df + 0.5) / (df + 0.5)), no (k1 + 1) in the numerator."""
    ranking = ranking_of([" ".join(words) for words in corpus])
    runs = [[run for word in words for run in RUNS[word]] for words in corpus]
    mean = sum(map(len, runs)) / len(runs)

    def by_hand(here: list[str]) -> float:
        total = 0.0
        for run in (run for word in question for run in RUNS[word]):
            n_holding, n_here = sum(run in other for other in runs), here.count(run)
            idf = math.log(1 + (len(corpus) - n_holding + 0.5) / (n_holding + 0.5))
            total += idf * n_here / (n_here + 1.5 * (0.25 + 0.75 * len(here) / mean))
        return total

    expected = [by_hand(here) for here in runs]
    assert ranking.scores(" ".join(question)).tolist() == pytest.approx(expected, abs=1e-4)
    best = ranking.best(" ".join(question), 3)
    assert len(best) == min(3, len(corpus))
    values = [expected[ranking.passages.index(passage)] for passage in best]
    assert values == pytest.approx(sorted(expected, reverse=True)[:3], abs=1e-4)
    for passage, value in zip(ranking.passages, expected, strict=True):
        standing = value / max(expected) if max(expected) > 0 else 0.0
        assert ranking.standing(" ".join(question), passage) == pytest.approx(standing, abs=1e-3)


def test_passages_that_score_the_same_keep_the_texts_order() -> None:
    ranking = ranking_of(["a reed", "a mill", "a reed", "a mill"])
    assert ranking.best("mill", 3) == [ranking.passages[i] for i in (1, 3, 0)]
    assert ranking.best("nothing of it", 2) == list(ranking.passages[:2])


def test_forms_of_a_word_count_for_one_another() -> None:
    ranking = ranking_of(["die Mühle steht still", "der Turm ist hoch", "viele Mühlen mahlten"])
    assert ranking.best("Wo war die Windmühle?", 2) == [ranking.passages[i] for i in (0, 2)]
    assert ranking_of(["日本語", "英語"]).best("日本", 1)[0].start == 0


def test_what_is_no_passage_stands_first() -> None:
    assert ranking_of(["a reed"]).standing("reed", Passage(0, 999, 9)) == 1.0


@given(corpus=CORPUS, question=QUESTION, text=st.lists(WORD), more=st.lists(WORD))
def test_law_a_share_grows_with_the_text(
    corpus: list[list[str]], question: list[str], text: list[str], more: list[str]
) -> None:
    ranking, asked = ranking_of([" ".join(words) for words in corpus]), " ".join(question)
    less, full = ranking.share(asked, " ".join(text)), ranking.share(asked, " ".join(text + more))
    assert 0 <= less <= full <= 1 + 1e-12
    assert (less > 0) == bool(set(question) & set(text))
    assert ranking.share(asked, asked) == pytest.approx(1)
    assert ranking.share("?!", " ".join(text)) == 0


def test_rare_words_weigh_more() -> None:
    ranking = ranking_of(["heron reed", "heron mill", "heron sea"])
    rare, common = math.log(1 + 3 / 2), math.log(1 + 3 / 4)
    assert ranking.share("heron reed", "a reed") == pytest.approx(rare / (rare + common))
