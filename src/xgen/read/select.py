"""Documents of any length: passages, and which of them the words of a question point to."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xgen.read.sources import Sources
from xgen.read.words import grams, words
from xgen.text.sentences import paragraph_spans, sentence_spans

PASSAGE_TOKENS = 220
"""Length that passages are filled to: a paragraph or a few, what small models read best."""


@dataclass(frozen=True)
class Passage:
    """A stretch `text[start:end]` of the sources, never across two documents."""

    start: int
    end: int
    n_tokens: int


@dataclass(frozen=True)
class Index:
    """Which passages hold which runs of characters, and words.

    What a run of `columns`, say the i-th, adds to the score of passage `rows[j]` is `scores[j]` (fp32), for
    `starts[i] <= j < starts[i + 1]`. `holders` counts the passages that a word stands in.
    """

    columns: dict[str, int]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    holders: dict[str, int]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Index":
        """Of passages, by BM25 (Robertson and Zaragoza 2009; k1 1.5, b 0.75, as bm25s has it)."""
        import bm25s

        columns: dict[str, int] = {}
        # numbers at once: the runs of a long text themselves take ten times its memory
        ids = [[columns.setdefault(run, len(columns)) for run in grams(text) or [""]] for text in texts]
        made = bm25s.BM25(method="lucene")
        made.index((ids, columns), show_progress=False)
        holders = Counter(word for text in texts for word in set(words(text)))
        found = made.scores
        return cls(columns, found["indptr"], found["indices"], found["data"], dict(holders))


@dataclass(frozen=True)
class Ranking:
    """Passages and the index of their words; `best` orders them for a question by BM25."""

    passages: tuple[Passage, ...]
    texts: tuple[str, ...]
    known: Index | None = None

    @cached_property
    def index(self) -> Index:
        """The one that is `known`, or made at the first question."""
        return self.known or Index.of(self.texts)

    def scores(self, question: str) -> NDArray[np.float32]:
        """BM25 score of each passage [n]; over runs of four: forms of a word count for one another."""
        index, scores = self.index, np.zeros(len(self.passages), dtype=np.float32)
        for gram in grams(question):
            if (column := index.columns.get(gram)) is not None:
                here = slice(index.starts[column], index.starts[column + 1])
                scores[index.rows[here]] += index.scores[here]  # a passage stands once in a column
        return scores

    def best(self, question: str, n: int) -> list[Passage]:
        """The `n` passages that the question's words point to, best first; ties in the text's order."""
        scores = self.scores(question)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        return [self.passages[i] for i in order[:n]]

    def standing(self, question: str, passage: Passage) -> float:
        """The BM25 score of a passage over the best one's, 0 to 1; 1 for what is no passage of these."""
        if passage not in self.passages:
            return 1.0
        scores = self.scores(question)
        best = float(scores.max())
        return float(scores[self.passages.index(passage)]) / best if best > 0 else 0.0

    def share(self, question: str, text: str) -> float:
        """The share of the question's words that stand in `text`, 0 to 1, rare words weighing more.

        A word weighs log(1 + n / (1 + passages that hold it)): inverse document frequency.
        """
        asked, held = set(words(question)), set(words(text))
        weights = {
            word: float(np.log1p(len(self.texts) / (1 + self.index.holders.get(word, 0)))) for word in asked
        }
        total = sum(weights.values())
        return sum(w for word, w in weights.items() if word in held) / total if total else 0.0


def rank_passages(sources: Sources, offsets: Sequence[tuple[int, int]]) -> Ranking:
    """Cut the sources into passages; `offsets` are the tokens' places in `sources.text`, in order.

    Whole paragraphs are gathered up to PASSAGE_TOKENS; a longer paragraph is cut between sentences.
    Together the passages hold every character that is not white space, once.
    """
    begins = [begin for begin, _ in offsets]

    def length(start: int, end: int) -> int:
        return bisect_left(begins, end) - bisect_left(begins, start)

    passages: list[Passage] = []
    for index in range(len(sources.documents)):
        gathered: tuple[int, int] | None = None
        for start, end in _blocks(sources, index, length):
            if gathered is not None and length(gathered[0], end) <= PASSAGE_TOKENS:
                gathered = (gathered[0], end)
                continue
            if gathered is not None:
                passages.append(Passage(*gathered, length(*gathered)))
            gathered = (start, end)
        if gathered is not None:
            passages.append(Passage(*gathered, length(*gathered)))
    return Ranking(tuple(passages), tuple(sources.text[p.start : p.end] for p in passages))


def _blocks(sources: Sources, index: int, length: Callable[[int, int], int]) -> list[tuple[int, int]]:
    """Paragraphs of document `index`, and the sentences of those too long to be a passage."""
    begin = sources.starts[index]
    blocks: list[tuple[int, int]] = []
    for a, b in paragraph_spans(sources.documents[index].text):
        start, end = begin + a, begin + b
        whole = length(start, end) <= PASSAGE_TOKENS
        blocks += [(start, end)] if whole else sentence_spans(sources.text, start, end)
    return blocks
