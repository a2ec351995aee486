"""A question about what is read: evidence first, then words.

Every answer begins with the spans that the model would write under the rule "a substring of the text",
weighed against each other and against "not in the document". With `quote` the best span is the answer;
without, the model answers freely and each of its sentences is held against the text; where it declines
although such spans are mostly right, the span answers.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from xgen.bundle import Bundle
from xgen.engine.cache import Cache, Rows
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.engine.score import prefill_scored, read_rows, score
from xgen.errors import TooLong
from xgen.read import trust
from xgen.read.answer import Answer, Citation
from xgen.read.prompt import ABSENT, FREE, QUOTE, document_ids, question_ids, question_length
from xgen.read.quote import Candidate, Quoter, locate, sentence_around
from xgen.read.select import Passage, Ranking
from xgen.read.sources import BREAK, Sources
from xgen.read.support import find_quote, strangers, support
from xgen.read.words import holds, words
from xgen.text.sentences import sentence_spans

N_PASSAGES = 3
"""Passages that `select` reads for a question."""

GOOD_SHARE = 0.5
"""Measured share of right spans from which the evidence answers although the model declines to."""

N_BEAMS = 16
NEAR_CHARACTERS = 60
MAX_QUESTION_TOKENS = 512
LONGEST_SPAN_TOKENS = 24
QUESTIONS_ON_GPU = 8
BEAM_SLOTS = N_BEAMS * LONGEST_SPAN_TOKENS
SPARE_TOKENS = MAX_QUESTION_TOKENS + BEAM_SLOTS + 256
"""Room behind a document in the cache: a question with its wording, and the beams or a free answer."""


@dataclass(frozen=True)
class Reading:
    """One question read behind one passage."""

    question: str
    passage: Passage


@dataclass(frozen=True)
class Evidence:
    """A candidate span, where it stands in the sources' text, and what speaks for it."""

    passage: Passage
    candidate: Candidate
    start: int
    end: int
    signals: trust.Signals
    score: float
    n_prompt: int


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
        self.passages_read: set[Passage] = set()
        self.way = "select" if whole is None else "whole"
        self._cache: Cache | None = None
        self._cached_text: str | None = None

    @cached_property
    def quoter(self) -> Quoter:
        """What writes spans with this model."""
        return Quoter(self.bundle)

    def ask(self, questions: Sequence[str], quote: bool, max_answer_tokens: int) -> Iterator[Answer]:
        """Answer questions in their order; raises TooLong if one does not fit into the room kept for it.

        A GPU takes several at once, a CPU each by itself.
        """
        room = self._question_room(max_answer_tokens)
        for question in questions:
            n_question = question_length(self.bundle, question)
            if n_question > room:
                raise TooLong(
                    "the question",
                    f"it has {n_question:,} tokens and {room} fit",
                    "ask a shorter one, and put long text into a file to be read",
                )
        n_at_once = QUESTIONS_ON_GPU if self.bundle.device.type == "cuda" and self.whole is None else 1
        for begin in range(0, len(questions), n_at_once):
            some = questions[begin : begin + n_at_once]
            for question, evidence in zip(some, self.evidence(some, max_answer_tokens), strict=True):
                yield self._answer(question, evidence, quote, max_answer_tokens)

    def evidence(self, questions: Sequence[str], max_answer_tokens: int) -> list[list[Evidence]]:
        """For each question every candidate span of the passages read for it, with its score."""
        passages = [self.passages(question) for question in questions]
        readings = [Reading(q, p) for q, some in zip(questions, passages, strict=True) for p in some]
        rows, logits_BV, asked = self._prompts(readings)
        texts = [self.sources.text[r.passage.start : r.passage.end] for r in readings]
        rules = [self.quoter.rule(text) for text in texts]
        longest = min(max_answer_tokens, LONGEST_SPAN_TOKENS)
        found = self.quoter.candidates(rows, logits_BV, rules, N_BEAMS, longest)
        absent_ids = self.bundle.tokenizer.encode(ABSENT + QUOTE.closing)
        absent = score(self.bundle.model, rows, logits_BV, [absent_ids])
        weighed = (
            self._weighed(reading, found[b], asked=asked[b], absent=absent[b][0], n_prompt=rows.lengths[b])
            for b, reading in enumerate(readings)
        )
        return [[each for _ in some for each in next(weighed)] for some in passages]

    def passages(self, question: str) -> list[Passage]:
        """What is read for a question."""
        chosen = self.ranking.best(question, N_PASSAGES) if self.whole is None else [self.whole]
        self.passages_read.update(chosen)
        return chosen

    def _prompts(self, readings: Sequence[Reading]) -> tuple[Rows, Tensor, list[float]]:
        """Read each question behind its passage.

        Returns the rows, the logits [rows, V] of the reply, and the mean log-probability of each
        question's tokens.
        """
        model = self.bundle.model
        tails = [question_ids(self.bundle, QUOTE, r.question) for r in readings]
        if self.whole is None:
            heads = [
                document_ids(self.bundle, self.sources.text[r.passage.start : r.passage.end])
                for r in readings
            ]
            texts = [head + tail for head, tail in zip(heads, tails, strict=True)]
            rows, logits_BV, logprobs = read_rows(model, texts, [len(t) for t in tails], BEAM_SLOTS)
        else:
            cache = self._read(self.sources.text[self.whole.start : self.whole.end])
            logits_V, logprobs_T = prefill_scored(model, cache, tails[0])
            rows, logits_BV, logprobs = Rows.of(cache), logits_V[None], [logprobs_T]
        lengths = [question_length(self.bundle, r.question) for r in readings]
        return (
            rows,
            logits_BV,
            [float(each[: n - 1].mean()) for each, n in zip(logprobs, lengths, strict=True)],
        )

    def _weighed(
        self, reading: Reading, candidates: list[Candidate], asked: float, absent: float, n_prompt: int
    ) -> list[Evidence]:
        question, passage = reading.question, reading.passage
        question_words = frozenset(words(question))
        standing = self.ranking.standing(question, passage)
        shared = self.ranking.share(question, self.sources.text[passage.start : passage.end])
        evidence = []
        for candidate in candidates:
            start, end = locate(self.sources.text, candidate.text, question, passage.start, passage.end)
            if self.sources.index_at(start) != self.sources.index_at(end - 1):
                continue  # it runs from one document into the next
            near = max(passage.start, start - NEAR_CHARACTERS), min(passage.end, end + NEAR_CHARACTERS)
            own = words(candidate.text)
            signals = trust.Signals(
                span=candidate.logprob,
                tokens=candidate.n_tokens,
                sentence=self._context(question, start, end, *sentence_around(self.sources.text, start, end)),
                near=self._context(question, start, end, *near),
                echo=sum(word in question_words for word in own) / max(1, len(own)),
                question=asked,
                passage=standing,
                words=shared,
                absent=absent,
            )
            value = trust.score(self.bundle.card.name, self.way, signals)
            evidence.append(Evidence(passage, candidate, start, end, signals, value, n_prompt))
        return evidence

    def _answer(
        self, question: str, evidence: Sequence[Evidence], quote: bool, max_answer_tokens: int
    ) -> Answer:
        best = max(evidence, key=lambda e: e.score, default=None)
        judged = trust.judge(self.bundle.card.name, self.way, best.score if best else 0.0)
        passages = self.passages(question)
        prompt_tokens = sum({e.passage: e.n_prompt for e in evidence}.values())
        text, n_tokens, citations, unsupported = None, 0, tuple[Citation, ...](), tuple[str, ...]()
        right_share = None
        if best is not None and judged.found:
            span = self.sources.text[best.start : best.end]
            if quote:
                text, n_tokens = span, best.candidate.n_tokens
            else:
                text, n_prompt, n_tokens = self._write(question, passages, max_answer_tokens)
                prompt_tokens += n_prompt
                if text is None and (judged.right_share or 0) >= GOOD_SHARE:
                    text = span  # the model declines where spans with such a score are mostly right
            if text == span:
                place = sentence_around(self.sources.text, best.start, best.end)
                citations = (self.sources.citation(*place),)
            elif text is not None:
                citations, unsupported = self._hold(text, passages)
            # the share was measured for spans: it speaks of a sentence only if the span stands in it
            right_share = judged.right_share if text is not None and holds(text, span) else None
        return Answer(
            question=question,
            answer=text,
            found=text is not None,
            score=round(best.score, 4) if best else 0.0,
            right_share=right_share,
            citations=citations,
            unsupported=unsupported,
            prompt_tokens=prompt_tokens,
            answer_tokens=n_tokens,
            read=tuple(map(self._said, passages)) if self.whole is None else (),
        )

    def _question_room(self, max_answer_tokens: int) -> int:
        """Tokens of the longest question that fits beside its document, wording and answer."""
        if self.whole is None:
            return MAX_QUESTION_TOKENS
        wording = max(len(question_ids(self.bundle, each, "")) for each in (QUOTE, FREE))
        beside = len(document_ids(self.bundle, "")) + self.whole.n_tokens + wording
        longest = max(max_answer_tokens, LONGEST_SPAN_TOKENS)
        return min(MAX_QUESTION_TOKENS, self.bundle.shape.max_seq_len - beside - longest)

    def _context(self, question: str, start: int, end: int, begin: int, stop: int) -> float:
        """The share of the question's words in `text[begin:stop]` around, not in, `text[start:end]`."""
        text = self.sources.text
        return self.ranking.share(question, f"{text[begin:start]} {text[end:stop]}")

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
        logits = prefill(self.bundle.model, cache, question_ids(self.bundle, FREE, question))
        n_prompt = cache.length
        choose = greedy(self.bundle.hidden_ids)
        room = min(max_answer_tokens, cache.capacity - cache.length)
        ids = list(generate(self.bundle.model, cache, logits, choose, self.bundle.end_ids, room))
        text = self.bundle.tokenizer.decode(ids).strip()
        return (None if words(text) == words(ABSENT) else text), n_prompt, len(ids)

    def _hold(self, text: str, passages: list[Passage]) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
        """What of a free answer the passages bear out, sentence by sentence, and what they do not."""
        read = self.sources.text
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
            unsupported += strangers(read, sentence)
        for words_quoted in re.findall(r"[\u201c\u00ab\"]([^\u201d\u00bb\"]+)[\u201d\u00bb\"]", text):
            if words_quoted not in read and find_quote(read, words_quoted) is None:
                unsupported.append(words_quoted)
        return tuple(dict.fromkeys(citations)), tuple(dict.fromkeys(unsupported))

    def _said(self, passage: Passage) -> str:
        """A passage in words: its document and place."""
        return self.sources.citation(passage.start, passage.end).place
