"""The reader that needs no model: the sentence of the text that BM25 ranks first for the question."""

import re
from collections.abc import Sequence

from xgen.text.sentences import sentence_spans

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


def words(text: str) -> list[str]:
    """Lower-case words; every ideograph and kana is a word."""
    return _WORD.findall(text.lower())


def best_sentences(text: str, questions: Sequence[str]) -> list[str]:
    """For each question the sentence of `text` with the highest BM25 score, the first of equals.

    The library bm25s as it comes (Lucene's formula, k1 1.5, b 0.75), no stemming, no stop words.
    """
    import bm25s

    sentences = [text[a:b] for a, b in sentence_spans(text)]
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([words(sentence) for sentence in sentences], show_progress=False)
    best = []
    for question in questions:
        known = [word for word in words(question) if word in index.vocab_dict]
        place = int(index.get_scores(known).argmax()) if known else 0
        best.append(sentences[place])
    return best
