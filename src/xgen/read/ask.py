"""A question about what is read: evidence first, then words.

Every answer begins with the spans that the model would write under the rule "a substring of the text",
weighed against each other and against "not in the document". With `quote` the best span is the answer;
without, the model answers freely and each of its sentences is held against the text.
"""

from collections.abc import Callable
from dataclasses import dataclass

from xgen.bundle import Bundle
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.engine.score import prefill_scored, score
from xgen.errors import TooLong
from xgen.read import trust
from xgen.read.answer import Answer, Citation
from xgen.read.prompt import ABSENT, FREE, QUOTE, document_ids, question_ids, question_length
from xgen.read.quote import Candidate, Quoter, locate, sentence_around
from xgen.read.select import Passage, Ranking
from xgen.read.sources import BREAK, Sources
from xgen.read.support import strangers, support
from xgen.read.words import words
from xgen.text.sentences import sentence_spans

N_PASSAGES = 3
"""Passages that `select` reads for a question."""

N_BEAMS = 8
MAX_QUESTION_TOKENS = 512
LONGEST_SPAN_TOKENS = 64
SPARE_TOKENS = MAX_QUESTION_TOKENS + N_BEAMS * LONGEST_SPAN_TOKENS + 256
"""Room behind a document in the cache: a question with its wording, and the beams or a free answer."""


@dataclass(frozen=True)
class Evidence:
    """The best span of one passage; `start` and `end` index the sources' text."""

    candidate: Candidate
    start: int
    end: int
    signals: trust.Signals
    prompt_tokens: int


class Asker:
    """Sources ready to be asked any number of questions.

    `whole` is the stretch of the sources' text that is read once and asked many times; None means
    that each question reads its own best passages of the `ranking`.
    """

    def __init__(
        self,
        bundle: Bundle,
        sources: Sources,
        ranking: Ranking,
        whole: Passage | None,
        advance: Callable[[int], None] = lambda n: None,
    ) -> None:
        self.bundle = bundle
        self.sources = sources
        self.ranking = ranking
        self.whole = whole
        self.advance = advance
        self.quoter = Quoter(bundle)
        self.passages_read: set[Passage] = set()
        self.way = "select" if whole is None else "whole"
        self._cache: Cache | None = None
        self._cached_text: str | None = None

    def ask(self, question: str, quote: bool, max_answer_tokens: int) -> Answer:
        """Answer one question; raises TooLong if it does not fit into the room kept for it."""
        n_question = question_length(self.bundle, question)
        if n_question > MAX_QUESTION_TOKENS:
            raise TooLong(
                "the question",
                f"it has {n_question:,} tokens and {MAX_QUESTION_TOKENS} fit",
                "ask a shorter one, and put long text into a file to be read",
            )
        passages = self._passages(question)
        evidence = [e for p in passages if (e := self._evidence(question, p, max_answer_tokens)) is not None]
        model = self.bundle.card.name
        best = max(evidence, key=lambda e: trust.weight(model, self.way, e.signals), default=None)
        judged = trust.judge(model, self.way, best.signals if best else None)
        prompt_tokens = sum(e.prompt_tokens for e in evidence)
        text, n_tokens, citations, unsupported = None, 0, tuple[Citation, ...](), tuple[str, ...]()
        if best is not None and judged.found and quote:
            text, n_tokens = self.sources.text[best.start : best.end], best.candidate.n_tokens
            citations = (self.sources.citation(*sentence_around(self.sources.text, best.start, best.end)),)
        elif judged.found:
            text, n_prompt, n_tokens = self._write(question, passages, max_answer_tokens)
            prompt_tokens += n_prompt
            if text is not None:
                citations, unsupported = self._hold(text, passages)
        return Answer(
            question=question,
            answer=text,
            found=text is not None,
            score=judged.score,
            right_share=judged.right_share,
            citations=citations,
            unsupported=unsupported,
            prompt_tokens=prompt_tokens,
            answer_tokens=n_tokens,
            read=tuple(map(self._said, passages)) if self.whole is None else (),
        )

    def _passages(self, question: str) -> list[Passage]:
        chosen = self.ranking.best(question, N_PASSAGES) if self.whole is None else [self.whole]
        self.passages_read.update(chosen)
        return chosen

    def _evidence(self, question: str, passage: Passage, max_answer_tokens: int) -> Evidence | None:
        text = self.sources.text[passage.start : passage.end]
        model, tokenizer = self.bundle.model, self.bundle.tokenizer
        cache = self._read(text)
        tail = question_ids(self.bundle, QUOTE, question)
        logits, logprobs = prefill_scored(model, cache, tail)
        longest = min(max_answer_tokens, LONGEST_SPAN_TOKENS)
        rule = self.quoter.rule(text)
        candidates = self.quoter.candidates(cache, logits, rule, QUOTE, N_BEAMS, longest)
        if not candidates:
            return None
        best, rest = candidates[0], candidates[1:]
        signals = trust.Signals(
            span=best.logprob,
            second=rest[0].logprob if rest else best.logprob - 10,
            absent=score(model, cache, logits, [tokenizer.encode(ABSENT + QUOTE.closing)])[0],
            question=float(logprobs[: question_length(self.bundle, question) - 1].mean()),
            words=self.ranking.share(question, text),
        )
        start, end = locate(self.sources.text, best.text, question, [(passage.start, passage.end)])
        return Evidence(best, start, end, signals, cache.length)

    def _read(self, text: str) -> Cache:
        """The cache with the prompt up to the end of `text`, which is read only if it is not there yet."""
        ids = document_ids(self.bundle, text)
        capacity = len(ids) + SPARE_TOKENS
        if self._cache is None or self._cache.capacity < capacity:
            self._cache, self._cached_text = Cache.empty(self.bundle.model, capacity), None
        if self._cached_text == text:
            self._cache.cut(len(ids))
        else:
            self._cache.cut(0)
            prefill(self.bundle.model, self._cache, ids, self.advance)
            self._cached_text = text
        return self._cache

    def _write(
        self, question: str, passages: list[Passage], max_answer_tokens: int
    ) -> tuple[str | None, int, int]:
        """A free answer (None if it says "not in the document"), its prompt's tokens and its own."""
        inside = sorted(passages, key=lambda p: p.start)
        cache = self._read(BREAK.join(self.sources.text[p.start : p.end] for p in inside))
        tail = question_ids(self.bundle, FREE, question)
        logits = prefill(self.bundle.model, cache, tail)
        n_prompt = cache.length
        choose = greedy(self.bundle.hidden_ids)
        room = min(max_answer_tokens, cache.capacity - cache.length)
        ids = list(generate(self.bundle.model, cache, logits, choose, self.bundle.end_ids, room))
        text = self.bundle.tokenizer.decode(ids).strip()
        return (None if words(text) == words(ABSENT) else text), n_prompt, len(ids)

    def _hold(self, text: str, passages: list[Passage]) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
        """What of a free answer the passages bear out, sentence by sentence, and what they do not."""
        citations: list[Citation] = []
        unsupported: list[str] = []
        for begin, stop in sentence_spans(text):
            sentence = text[begin:stop]
            matches = [
                (match.score, match.start + p.start, match.end + p.start)
                for p in passages
                if (match := support(self.sources.text[p.start : p.end], sentence)) is not None
            ]
            if matches:
                _, start, end = max(matches)
                citations.append(self.sources.citation(start, end))
            else:
                unsupported.append(sentence)
            unsupported += strangers(self.sources.text, sentence)
        return tuple(dict.fromkeys(citations)), tuple(dict.fromkeys(unsupported))

    def _said(self, passage: Passage) -> str:
        """A passage in words: its document and place."""
        return self.sources.citation(passage.start, passage.end).place
