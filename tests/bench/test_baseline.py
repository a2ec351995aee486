import math

from baseline import best_sentences, words
from hypothesis import given
from hypothesis import strategies as st

LETTERS = ["oak", "elm", "fir", "ash", "yew"]


def bm25(sentences: list[list[str]], question: list[str]) -> list[float]:
    """Lucene's BM25 written out (Kamphuis et al. 2020, table 1), k1 1.5, b 0.75."""
    mean = sum(map(len, sentences)) / len(sentences)
    scores = []
    for sentence in sentences:
        total = 0.0
        for word in question:
            holding = sum(word in other for other in sentences)
            rarity = math.log(1 + (len(sentences) - holding + 0.5) / (holding + 0.5))
            often = sentence.count(word)
            total += rarity * often / (often + 1.5 * (0.25 + 0.75 * len(sentence) / mean))
        scores.append(total)
    return scores


@given(
    st.lists(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=8), min_size=2, max_size=6),
    st.lists(st.sampled_from(LETTERS), min_size=1, max_size=4),
)
def test_against_the_formula_written_out(sentences: list[list[str]], question: list[str]) -> None:
    text = "\n".join(f"{' '.join(s).capitalize()}." for s in sentences)
    (best,) = best_sentences(text, [" ".join(question) + "?"])
    scores = bm25(sentences, question)
    places = [i for i, s in enumerate(sentences) if f"{' '.join(s).capitalize()}." == best]
    assert max(scores[i] for i in places) >= max(scores) - 1e-5


def test_words_of_languages_without_spaces() -> None:
    assert words("东京 Tower 333m") == ["东", "京", "tower", "333m"]


def test_a_question_without_a_known_word_gets_the_first_sentence() -> None:
    assert best_sentences("One thing. Another thing.", ["Zzz?"]) == ["One thing."]
