"""An extractive summary: sentences of the documents, chosen to cover them, each with its place.

No model is asked. Sentences are ranked by LexRank (Erkan and Radev 2004: the stationary distribution
of a walk between sentences that share words), raised near a document's beginning, and picked by maximal
marginal relevance (Carbonell and Goldstein 1998), so that none says again what another one says. How
this measures beside other methods and a model's own summaries is in docs/results.md; the constants
were chosen on its development side (bench/summaries.py).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from xgen.read.answer import Citation, Summary, SummarySentence
from xgen.read.words import unspaced, words
from xgen.text.document import Document
from xgen.text.sentences import sentence_spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.floating[Any]]

N_PARTS = 10  # a document's parts, for saying where the chosen sentences stand
FEWEST, MOST = 3, 10  # sentences of a summary whose length nobody named
SHORTEST, LONGEST = 6, 60  # words of a sentence that reads well by itself
MIN_LETTERS = 0.6  # of a sentence's characters; below are formulas, addresses, rows of figures
MIN_SENTENCE_SHARE = 0.25  # of the words; below, the text has no sentences and any line is taken

DAMPING = 0.85  # of the walk, as in the paper
N_STEPS = 40  # of the power iteration; 0.85^40 is 0.002
LEAD = 2.0  # how much higher a document's first sentence stands
LEAD_SHARE = 0.05  # of a document; over so much of it the lead falls to 1/e, ...
LEAD_SENTENCES = 3  # ... or over so many sentences
SPREAD = 0.5  # worth of a sentence for each one already picked in its part
LEANING = 0.5  # worth of a sentence that needs the one before it, where that one is not chosen
RELEVANCE = 0.6  # against novelty, in picking
SAME = 0.6  # cosine from which two sentences say the same
QUESTION = 5.0  # how much higher the sentence most like the question stands; the lead then counts for nothing


@dataclass(frozen=True)
class Candidate:
    """A sentence that may be chosen: `text[start:end]` of document `document` (from 0).

    `number` counts the document's sentences and `part` (from 0) its tenths; `terms` are the
    sentence's words, and `leans` says that something in it, such as "However" or "It" at the
    beginning, points at the sentence before.
    """

    document: int
    part: int
    number: int
    start: int
    end: int
    terms: tuple[str, ...]
    leans: bool


def summarize(documents: Sequence[Document], n_sentences: int | None = None, question: str = "") -> Summary:
    """Choose sentences that cover the documents, in their order; those near `question` come first.

    `n_sentences` None takes 3 to 10, more for longer texts, and at least one from each document.
    Fewer come out where a document has no more, or none that says something new. Raises
    ValueError for `n_sentences` below 1.
    """
    if n_sentences is not None and n_sentences < 1:
        raise ValueError(f"a summary of {n_sentences} sentences")
    spans = [sentence_spans(document.text) for document in documents]
    listed = [candidates(d.text, s, i) for i, (d, s) in enumerate(zip(documents, spans, strict=True))]
    sizes = [len(of_document) for of_document in listed]
    if n_sentences is None:
        usual = min(MOST, max(FEWEST, round(sqrt(sum(sizes)) / 2)))
        n_sentences = max(usual, len(documents))
    together = [candidate for of_document in listed for candidate in of_document]
    chosen = sorted(choose(together, shares(sizes, n_sentences), question))
    sentences = [together[i] for i in chosen]
    return Summary(
        sentences=tuple(_cited(documents[s.document], s) for s in sentences),
        coverage="; ".join(
            _coverage(d, len(spans[i]), sizes[i], [s for s in sentences if s.document == i], len(documents))
            for i, d in enumerate(documents)
        ),
    )


# ---- sentences that may be chosen -----------------------------------------------------------------

_FULL_STOP = re.compile(r"[.!?…؟۔।॥։።។။။。！？｡][\"'”’»›)\]」』】）*_]*$")
_NO_SENTENCE = re.compile(r"[|#=>]|```|~~~")  # a row, a heading, a quotation or code in Markdown
_LIST_MARK = re.compile(r"(?:[-*+•‣▪◦●○–—·]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})[.)])\s+", re.IGNORECASE)
_OPENING = "\"'“”‘’„«‹([「『*_ "

# Openings that point at the sentence before. Words that open other sentences just as often in a
# language listed ("die", "het", "car") are left out.
_LEANING = """
however but and so or yet also then thus therefore hence moreover furthermore besides instead otherwise
nevertheless it he she they this that these those its his her their such
aber und doch denn dann deshalb daher also sondern jedoch dabei dazu dadurch damit dafür außerdem
er sie dies diese dieser dieses diesen ihr ihre seine
mais et donc il elle ils elles ce cet cette ces cela ceci sa ses leur leurs
pero entonces él ella ellos ellas esto este esta estos estas eso ese esa su sus
ma però quindi egli essa essi questo questa questi queste suo sua
mas porém ele ela eles elas isso isto
maar dus hij zij ze deze dit
но и а однако поэтому он она оно они это этот эта эти его её их
"""
_PRONOUNS = frozenset(["he", "she", "they", "il", "elle", "ils", "elles", "él", "ella", "он", "она", "они"])
_LEANING_BEGINNINGS = """
the other|the latter|the former|the two|the same|which of|in addition|in contrast|by contrast|for example
the first is|the second is|the third is|the fourth is|the fifth is|the last is|for instance|as a result
zum beispiel|im gegensatz|par exemple|en effet|por ejemplo|ad esempio|por exemplo
但|而|因此|所以|然而|不过|它|他|她|这|那|此|しかし|また|そして|これ|それ|その|この|彼|だから
"""
_LEANING_WORDS = frozenset(_LEANING.split())
_LEANING_OPENINGS = tuple(_LEANING_BEGINNINGS.strip().replace("\n", "|").split("|"))


def candidates(text: str, spans: Sequence[tuple[int, int]], document: int = 0) -> list[Candidate]:
    """Of the sentences `spans` of `text`, those that may stand in a summary, in order.

    Headings, rows, page numbers, stubs and fragments may not, as long as a quarter of the words is
    in whole sentences; otherwise (verse, Thai, bare lists) every line with enough words may, or every
    line with a letter or figure at all.
    """
    lines = [_candidate(text, document, number, span) for number, span in enumerate(spans)]
    lines = [line for line in lines if line.terms]
    long_enough = [line for line in lines if len(line.terms) >= SHORTEST]
    whole = [line for line in long_enough if _is_whole(text, line)]
    if _n_terms(whole) > MIN_SENTENCE_SHARE * _n_terms(lines):
        return whole
    return long_enough or lines


def _candidate(text: str, document: int, number: int, span: tuple[int, int]) -> Candidate:
    start, end = span
    mark = _LIST_MARK.match(text, start, end)
    start = mark.end() if mark else start
    opening = text[start:end].lstrip(_OPENING).casefold()
    first, *next_few = opening.split()[:4] or [""]
    leans = (
        bool(mark)
        or opening.startswith(_LEANING_OPENINGS)
        or not _LEANING_WORDS.isdisjoint(words(first)[:1])
        or not _PRONOUNS.isdisjoint(next_few)
        or _is_cut_from_speech(text[start:end])
    )
    part = N_PARTS * start // len(text)
    return Candidate(document, part, number, start, end, tuple(words(text[start:end])), leans)


def _is_cut_from_speech(sentence: str) -> bool:
    """Whether a quotation begins or ends outside the sentence."""
    return sentence.count('"') % 2 == 1 or sentence.count("“") > sentence.count("”") > 0


def _is_whole(text: str, line: Candidate) -> bool:
    sentence = text[line.start : line.end]
    longest = 2 * LONGEST if unspaced(sentence) else LONGEST  # two characters a word
    n_letters = sum(character.isalpha() or character in ".,;" for character in sentence)
    return (
        len(line.terms) <= longest
        and bool(_FULL_STOP.search(sentence))
        and not sentence[0].islower()
        and not _NO_SENTENCE.match(sentence)
        and n_letters >= MIN_LETTERS * len("".join(sentence.split()))
    )


def _n_terms(lines: Sequence[Candidate]) -> int:
    return sum(len(line.terms) for line in lines)


def shares(sizes: Sequence[int], n_sentences: int) -> list[int]:
    """How many sentences each document gives: one each, then by size (D'Hondt's divisors)."""
    given = [0] * len(sizes)
    for _ in range(min(n_sentences, sum(sizes))):
        open_ones = [i for i, size in enumerate(sizes) if given[i] < size]
        given[max(open_ones, key=lambda i: (given[i] == 0, sizes[i] / (given[i] + 1)))] += 1
    return given


# ---- ranking and picking --------------------------------------------------------------------------


class Similarity:
    """Cosines of tf-idf vectors, kept as the words that occur: linear in the length of the text."""

    def __init__(self, sentences: Sequence[Sequence[str]]):
        import numpy as np

        numbers: dict[str, int] = {}
        entries = [
            (row, numbers.setdefault(term, len(numbers)), count)
            for row, sentence in enumerate(sentences)
            for term, count in Counter(sentence).items()
        ]
        table = np.array(entries, dtype=np.int64).reshape(-1, 3)
        self.n_rows, self.n_terms = len(sentences), len(numbers)
        self._numbers = numbers
        self._rows, self._terms = table[:, 0], table[:, 1]
        self._idf = np.log((1 + self.n_rows) / np.bincount(self._terms, minlength=self.n_terms))
        weights = table[:, 2] * self._idf[self._terms]
        norms = np.sqrt(np.bincount(self._rows, weights**2, self.n_rows))
        self._weights = weights / np.maximum(norms, 1e-12)[self._rows]

    def weighted_sum(self, weights_N: "Vector") -> "Vector":
        """To each sentence [N]: the sum over all sentences of weight times cosine."""
        import numpy as np

        profile = np.bincount(self._terms, self._weights * weights_N[self._rows], self.n_terms)
        return np.bincount(self._rows, self._weights * profile[self._terms], self.n_rows).astype(float)

    def to_sentence(self, row: int) -> "Vector":
        """The cosine of every sentence [N] to sentence `row`."""
        import numpy as np

        return self.weighted_sum((np.arange(self.n_rows) == row).astype(float))

    def to_text(self, text: str) -> "Vector":
        """To each sentence [N]: its cosine to any text, up to a factor; zero where no word is known."""
        import numpy as np

        profile = np.zeros(self.n_terms)
        for term in words(text):
            if term in self._numbers:
                profile[self._numbers[term]] += self._idf[self._numbers[term]]
        return np.bincount(self._rows, self._weights * profile[self._terms], self.n_rows).astype(float)


def centrality(similarity: Similarity) -> "Vector":
    """LexRank with continuous weights: the walk's share of time at each sentence [N], the largest 1.

    Erkan and Radev 2004, section 3.3, with no step from a sentence to itself.
    """
    import numpy as np

    n = similarity.n_rows
    degree = np.maximum(similarity.weighted_sum(np.ones(n)) - 1, 0.0)  # a sentence's cosine to itself is 1
    linked = degree > 1e-9
    share = np.full(n, 1 / n)
    for _ in range(N_STEPS):
        outgoing = np.where(linked, share / np.maximum(degree, 1e-9), 0.0)
        arrived = similarity.weighted_sum(outgoing) - outgoing
        stranded = share[~linked].sum() / n
        share = (1 - DAMPING) / n + DAMPING * (arrived + stranded)
    return np.asarray(share / share.max())


def choose(sentences: Sequence[Candidate], quotas: Sequence[int], question: str = "") -> list[int]:
    """Indices of the sentences picked, the best first, `quotas[d]` at most of document d."""
    import numpy as np

    if not sentences:
        return []
    similarity = Similarity([s.terms for s in sentences])
    near = similarity.to_text(question)
    raised = QUESTION * near / near.max() if near.any() else LEAD * _lead(sentences)
    worth = centrality(similarity) * (1 + raised)
    worth /= worth.max()
    leans = np.array([s.leans for s in sentences])
    document = np.array([s.document for s in sentences])
    number = np.array([s.number for s in sentences])
    part = np.array([s.part for s in sentences])
    left = np.array(quotas)
    said = np.zeros(len(sentences))  # how near a sentence is to one picked already
    resting = np.zeros(len(sentences), dtype=bool)  # the sentence before it is picked
    picked: list[int] = []
    while True:
        is_open = (said < SAME) & (left[document] > 0)
        is_open[picked] = False
        if not is_open.any():
            return picked
        value = RELEVANCE * np.where(leans & ~resting, LEANING * worth, worth) - (1 - RELEVANCE) * said
        best = int(np.where(is_open, value, -np.inf).argmax())
        picked.append(best)
        left[document[best]] -= 1
        said = np.maximum(said, similarity.to_sentence(best))
        worth[(document == document[best]) & (part == part[best])] *= SPREAD
        resting |= (document == document[best]) & (number == number[best] + 1)


def _lead(sentences: Sequence[Candidate]) -> "Vector":
    """1 at a document's first sentence, falling towards 0 over its beginning; [N]."""
    import numpy as np

    sizes = Counter(s.document for s in sentences)
    ranks: Counter[int] = Counter()
    fall = []
    for sentence in sentences:
        reach = max(LEAD_SENTENCES, LEAD_SHARE * sizes[sentence.document])
        fall.append(-ranks[sentence.document] / reach)
        ranks[sentence.document] += 1
    return np.asarray(np.exp(np.array(fall)))


# ---- what is given back ---------------------------------------------------------------------------


def _cited(document: Document, sentence: Candidate) -> SummarySentence:
    text = document.text[sentence.start : sentence.end]
    place = document.place(sentence.start)
    citation = Citation(
        text, document.path, place.page, place.line, sentence.start, sentence.end, verified=True
    )
    return SummarySentence(text, citation)


def _coverage(
    document: Document, n_lines: int, n_sentences: int, chosen: Sequence[Candidate], n_documents: int
) -> str:
    name = f"{document.path}: " if n_documents > 1 else ""
    n_pages = len(document.page_starts)
    pages = f" on {_count(n_pages, 'page')}" if n_pages else ""
    if not n_sentences:
        return f"{name}there is nothing to summarize{pages}"
    read = f"{name}all {_count(n_sentences, 'sentence')}{pages} were read"
    if n_sentences == 1:
        read = f"{name}its only sentence{pages} was read"
    if n_lines > n_sentences:
        passed_over = _count(
            n_lines - n_sentences, "heading, row or short line", "headings, rows and short lines"
        )
        read += f", {passed_over} passed over"
    if document.dropped:
        read += f" ({'; '.join(document.dropped)})"
    if not chosen:
        return f"{read}; none of them was chosen"
    parts = sorted({1 + s.part for s in chosen})
    listed = ", ".join(map(str, parts[:-1])) + " and " + str(parts[-1]) if parts[1:] else str(parts[0])
    where = f"part{'s' if parts[1:] else ''} {listed} of {N_PARTS}"
    return f"{read}; the {f'{len(chosen)} chosen stand' if chosen[1:] else 'one chosen stands'} in {where}"


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
