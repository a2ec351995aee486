"""A question about what is read: evidence first, then words.

Every answer begins with the spans that the model would write under the rule "a substring of the text",
weighed against each other and against "not in the document". With `quote` the best span is the answer;
without, the model answers freely and each of its sentences is held against the text. Where the model
declines although such spans are mostly right even then, or only repeats itself, the span answers; where it
says something else than the span, the answer comes with the span beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from xgen import shelf
from xgen.bundle import Bundle
from xgen.engine import kept
from xgen.engine.cache import Cache, Rows
from xgen.engine.constrain import Substring
from xgen.engine.generate import prefill
from xgen.engine.score import prefill_scored, read_rows, score
from xgen.errors import NoRoom
from xgen.read import trust
from xgen.read.answer import Answer, Span
from xgen.read.free import Written, hold, write
from xgen.read.prompt import ABSENT, FREE, QUOTE, document_ids, question_ids, question_length
from xgen.read.quote import Candidate, Quoter, locate, sentence_around
from xgen.read.rows import around, goes_round, gone_through, is_begun, is_ruled_out, joined, passed_over
from xgen.read.select import Passage, Ranking
from xgen.read.sources import BREAK, Sources
from xgen.read.words import holds, words
from xgen.show import note, progress
from xgen.text.languages import language_of
from xgen.text.rows import RowReply, parse_rows

N_PASSAGES = 3
"""Passages that `select` reads for a question."""

MEASURED_TOKENS = 40
"""Of a reply that is measured (bench/calibrate.py), at most."""

MOST_BEAMS = 16
NEAR_CHARACTERS = 60
MAX_QUESTION_TOKENS = 512
LONGEST_SPAN_TOKENS = 24
QUESTIONS_ON_GPU = 8
COPIES_BYTES = 1 << 30
"""Keys and values of a document that the questions asked of it at once may have, on a GPU."""

KEPT_FROM_TOKENS = 512
BEAM_SLOTS = MOST_BEAMS * LONGEST_SPAN_TOKENS
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
    that each question reads its own best passages of the `ranking`, and one that is answered by the rows
    of a table the stretch `for_rows`, if there is one. With `keep` such a stretch stays on the disk
    (engine/kept.py).
    """

    def __init__(
        self,
        bundle: Bundle,
        sources: Sources,
        ranking: Ranking,
        whole: Passage | None,
        quoter: Quoter,
        for_rows: Passage | None = None,
        advance: Callable[[int], None] = lambda n: None,
        keep: bool = False,
    ) -> None:
        self.bundle = bundle
        self.quoter = quoter
        self.sources = sources
        self.ranking = ranking
        self.whole = whole
        self.for_rows = for_rows
        self.advance = advance
        self.keep = keep
        self.quiet = True
        self.passages_read: set[Passage] = set()
        self.way = "select" if whole is None else "whole"
        self.n_beams = trust.n_beams(bundle.card.name, self.way)
        self._cache: Cache | None = None
        self._cached_text: str | None = None
        self._document_ids: list[int] = []
        self._rules: dict[Passage, Substring] = {}

    @property
    def n_at_once(self) -> int:
        """How many questions `evidence` takes at once: several on a GPU, one on a CPU."""
        if self.bundle.device.type != "cuda":
            return 1
        if self.whole is None:
            return QUESTIONS_ON_GPU
        copy_bytes = self.bundle.cache_bytes(self.whole.n_tokens + SPARE_TOKENS)
        return max(1, min(QUESTIONS_ON_GPU, COPIES_BYTES // copy_bytes))

    def ask(self, questions: Sequence[str], quote: bool, max_answer_tokens: int) -> Iterator[Answer]:
        """Answer questions in their order, each as soon as it is known.

        A GPU takes several at once, a CPU each by itself. `max_answer_tokens` bounds a free answer; a
        quotation has at most LONGEST_SPAN_TOKENS, and fewer where a shorter one was found.
        """
        for begin in range(0, len(questions), self.n_at_once):
            some = questions[begin : begin + self.n_at_once]
            for question, evidence in zip(some, self.evidence(some), strict=True):
                yield self._answer(question, evidence, quote, max_answer_tokens)

    def evidence(self, questions: Sequence[str]) -> list[list[Evidence]]:
        """For each question every candidate span of the passages read for it, with its score."""
        passages = [self.passages(question) for question in questions]
        readings = [Reading(q, p) for q, some in zip(questions, passages, strict=True) for p in some]
        rows, logits_BV, asked = self._prompts(readings)
        rules = [self._rule(r.passage) for r in readings]
        found = self.quoter.candidates(rows, logits_BV, rules, self.n_beams, LONGEST_SPAN_TOKENS)
        absent_ids = self.bundle.tokenizer.encode(ABSENT + QUOTE.closing)
        absent = score(self.bundle.model, rows, logits_BV, [absent_ids])
        weighed = (
            self._weighed(reading, found[b], asked=asked[b], absent=absent[b][0], n_prompt=rows.lengths[b])
            for b, reading in enumerate(readings)
        )
        return [[each for _ in some for each in next(weighed)] for some in passages]

    def _rule(self, passage: Passage) -> Substring:
        """The rule "a substring of the passage", made once."""
        if passage not in self._rules:
            self._rules[passage] = self.quoter.rule(self.sources.text[passage.start : passage.end])
        return self._rules[passage]

    def read_whole(self) -> bool:
        """Read what is read whole before the first question needs it; True if it was found on the disk."""
        return self.whole is not None and self._read_kept(self.whole)

    def _read_kept(self, stretch: Passage) -> bool:
        """Read a stretch that is worth keeping on the disk; True if it was found there."""
        text = self.sources.text[stretch.start : stretch.end]
        if not self.keep or stretch.n_tokens < KEPT_FROM_TOKENS or not shelf.limit_bytes():
            self._read(text)
            return False
        ids = document_ids(self.bundle, text)
        key = kept.key_of(self.bundle.identity, ids)
        cache = self._room(ids)
        if kept.recall(key, cache):
            self._cached_text = text
            return True
        self._read(text)
        try:
            names = [document.path for document in self.sources.documents]
            kept.keep(key, cache, self.bundle.dtype, self.bundle.card.name, names)
        except (OSError, NoRoom) as error:  # it costs the next reading some time, and this one nothing
            reason = error.what if isinstance(error, NoRoom) else (error.strerror or str(error)).lower()
            note(f"what was read is not kept for the next time: {reason}")
        return False

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
            rows, logits_BV, logprobs = read_rows(
                model, texts, [len(t) for t in tails], BEAM_SLOTS, self.bundle.cache_dtype
            )
        else:
            cache = self._read(self.sources.text[self.whole.start : self.whole.end])
            if len(tails) > 1:
                rows, logits_BV, logprobs = read_rows(
                    model, tails, [len(t) for t in tails], BEAM_SLOTS, self.bundle.cache_dtype, cache
                )
            else:  # in place: no copy of what was read
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
        best, judged = self._best(evidence)
        passages = self.passages(question)
        read = tuple(self.sources.citation(p.start, p.end) for p in passages) if self.whole is None else ()
        answer = Answer(
            question,
            score=round(best.score, 4) if best else 0.0,
            prompt_tokens=sum({e.passage: e.n_prompt for e in evidence}.values()),
            read=read,
        )
        found = best is not None and judged.found
        if not quote:
            written = self._write(question, passages, max_answer_tokens, found, self.whole is not None)
            if written.text is not None and is_begun(written.text) and self.whole is None:
                n_begun = written.n_prompt
                passages = self._around_rows(passages, written.text)
                written = self._write(question, passages, max_answer_tokens, found, entire=True)
                written = replace(written, n_prompt=n_begun + written.n_prompt)
                read = tuple(self.sources.citation(p.start, p.end) for p in passages)
            n_prompt = written.n_prompt - (len(self._document_ids) if self.whole is not None else 0)
            n_prompt += answer.prompt_tokens
            answer = replace(answer, prompt_tokens=n_prompt, answer_tokens=written.n_tokens, read=read)
            if (reply := parse_rows(written.text or "")) is not None:
                answer = self._answered_by_rows(answer, passages, reply, written.cut)
                if answer.rows:
                    return answer
                # its entries are made up: the span answers, if one does
                written = replace(written, text=None)
        if best is None or not found:
            return answer
        span = self._span(best, judged.right_share)
        if quote:
            shorter, its = self._best([e for e in evidence if e.candidate.n_tokens <= max_answer_tokens])
            if shorter is not None and its.found:
                best, span = shorter, self._span(shorter, its.right_share)
                answer = replace(answer, score=round(best.score, 4))
            return _answered_by(answer, span, best.candidate.n_tokens)
        overruled = not written.declined or judged.overrules
        if written.text is None or written.text == span.text:
            return _answered_by(answer, span, written.n_tokens) if overruled else answer
        citations, unsupported = hold(self.sources, passages, written.text)
        says_it = holds(written.text, span.text)
        return replace(
            answer,
            answer=written.text,
            right_share=judged.agreed_share if says_it else judged.apart_share,
            citations=citations,
            unsupported=unsupported,
            evidence=None if says_it and citations else span,  # no answer is without a place
            cut=written.cut,
        )

    def _around_rows(self, passages: Sequence[Passage], begun: str) -> list[Passage]:
        """What is read for an answer that goes through rows and has begun so behind `passages`."""
        if (every := self.for_rows) is not None:
            with progress("reading", every.n_tokens, "tok", self.quiet) as self.advance:
                self.advance(every.n_tokens if self._read_kept(every) else 0)
            self.advance = lambda n: None
            self.passages_read.add(every)
            return [every]
        more = around(self.sources, self.ranking.passages, passages, begun)
        self.passages_read.update(more)
        return joined(self.sources, more)

    def reply(self, question: str) -> Written:
        """What the model, asked freely, replies before anybody weighs it (bench/calibrate.py)."""
        return self._write(question, self.passages(question), MEASURED_TOKENS, found=True, entire=True)

    def _answered_by_rows(
        self, answer: Answer, passages: Sequence[Passage], reply: RowReply, cut: bool
    ) -> Answer:
        """The answer that the entries give; where none stands in what was read they are only named."""
        said, rows, unsupported = gone_through(self.sources, passages, reply)
        if not rows:
            return replace(answer, unsupported=unsupported)
        citations = tuple(dict.fromkeys(row.citation for row in rows if row.holds))
        answer = replace(answer, passed_over=passed_over(self.sources, rows))
        return replace(answer, answer=said, rows=rows, citations=citations, unsupported=unsupported, cut=cut)

    def _best(self, evidence: Sequence[Evidence]) -> tuple[Evidence | None, trust.Judgement]:
        """The evidence of the highest score, and what that score means for its document's language."""
        best = max(evidence, key=lambda e: e.score, default=None)
        language = None
        if best is not None:
            language = language_of(self.sources.documents[self.sources.index_at(best.start)].text)
        value = round(best.score, 4) if best else 0.0
        return best, trust.judge(self.bundle.card.name, self.way, value, language)

    def _span(self, best: Evidence, right_share: float | None) -> Span:
        place = sentence_around(self.sources.text, best.start, best.end)
        text = self.sources.text[best.start : best.end]
        return Span(text, right_share, self.sources.citation(*place))

    def _context(self, question: str, start: int, end: int, begin: int, stop: int) -> float:
        """The share of the question's words in `text[begin:stop]` around, not in, `text[start:end]`."""
        text = self.sources.text
        return self.ranking.share(question, f"{text[begin:start]} {text[end:stop]}")

    def _read(self, text: str) -> Cache:
        """The cache with the prompt up to the end of `text`, which is read only if it is not there yet."""
        if self._cache is not None and self._cached_text == text:
            self._cache.cut(len(self._document_ids))
            return self._cache
        ids = document_ids(self.bundle, text)
        cache = self._room(ids)
        prefill(self.bundle.model, cache, ids, self.advance)
        self._cached_text = text
        return cache

    def _room(self, ids: list[int]) -> Cache:
        """An empty cache for a document's ids and what is asked about it."""
        self._cached_text, self._document_ids = None, ids
        if self._cache is None or self._cache.capacity < len(ids) + SPARE_TOKENS:
            self._cache = self.bundle.empty_cache(len(ids) + SPARE_TOKENS)
        self._cache.cut(0)
        return self._cache

    def _write(
        self, question: str, passages: Sequence[Passage], max_answer_tokens: int, found: bool, entire: bool
    ) -> Written:
        """A free answer, written as far as it is of use.

        One that goes through the entries of a table is not if the passages may hold a part of the table
        (not `entire`), and to a question that is not `found` no other is.
        """

        def stop(text: str) -> bool:
            return (not entire and is_begun(text)) or (not found and is_ruled_out(text)) or goes_round(text)

        inside = sorted(passages, key=lambda p: p.start)
        cache = self._read(BREAK.join(self.sources.text[p.start : p.end] for p in inside))
        return write(self.bundle, cache, self._document_ids, question, max_answer_tokens, stop)


def _answered_by(answer: Answer, span: Span, n_tokens: int) -> Answer:
    """The answer given in the document's own words."""
    return replace(
        answer,
        answer=span.text,
        right_share=span.right_share,
        citations=(span.citation,),
        answer_tokens=n_tokens,
    )


def beside_document(bundle: Bundle, questions: Sequence[str], max_answer_tokens: int) -> int:
    """Tokens that the longest of `questions` needs beside its document: wording, question and answer."""
    asked = max((len(question_ids(bundle, each, q)) for q in questions for each in (QUOTE, FREE)), default=0)
    return len(document_ids(bundle, "")) + asked + max(max_answer_tokens, LONGEST_SPAN_TOKENS)
