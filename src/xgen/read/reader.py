"""The three-line use: a loaded model that reads documents, answers, summarizes, chats."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xgen import shelf
from xgen.bundle import Bundle
from xgen.engine.sample import LIKELIEST, Sampling
from xgen.errors import TooLong, XgenError
from xgen.read.answer import MAX_ANSWER_TOKENS, Answer, DocumentReport, Reading, Summary
from xgen.read.ask import MAX_QUESTION_TOKENS, SPARE_TOKENS, Asker, beside_document
from xgen.read.chat import Chat
from xgen.read.indexed import indexed
from xgen.read.prompt import question_length
from xgen.read.quote import Quoter
from xgen.read.select import Passage
from xgen.read.sources import Sources
from xgen.read.summarize import summarize as summary_of
from xgen.read.window import BESIDE_TOKENS, How, Plan, plan, tokens_inside, window_for
from xgen.show import note, progress
from xgen.text.document import Document

LONGEST_ANSWER_TOKENS = SPARE_TOKENS // 2


@dataclass(frozen=True)
class Prepared:
    """Documents ready to be asked: the plan, what asks, and the tokens' places in the sources' text."""

    plan: Plan
    asker: Asker
    offsets: list[tuple[int, int]]


class Reader:
    """A model ready to read. Make one with `xgen.load`."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._quoter = Quoter(bundle)  # one for all that is read: a vocabulary takes half a second

    def ask(
        self,
        documents: Document | Sequence[Document],
        question: str,
        quote: bool = False,
        how: How | None = None,
        window: int | None = None,
        max_answer_tokens: int = MAX_ANSWER_TOKENS,
        keep: bool = True,
    ) -> Answer:
        """Answer one question about one or more documents; see `read`."""
        reading = self.read(
            [documents] if isinstance(documents, Document) else documents,
            [question],
            quote=quote,
            how=how,
            window=window,
            max_answer_tokens=max_answer_tokens,
            keep=keep,
        )
        return reading.answers[0]

    def summarize(self, documents: Document | Sequence[Document], n_sentences: int | None = None) -> Summary:
        """Summarize documents by their own sentences, each with its place."""
        return summary_of([documents] if isinstance(documents, Document) else documents, n_sentences)

    def read(
        self,
        documents: Sequence[Document],
        questions: Sequence[str] = (),
        summarize: bool = False,
        quote: bool = False,
        how: How | None = None,
        window: int | None = None,
        max_answer_tokens: int = MAX_ANSWER_TOKENS,
        quiet: bool = False,
        keep: bool = True,
        tell: Callable[[str], None] = lambda block: None,
    ) -> Reading:
        """Read documents once, then summarize them and answer the questions, in the order asked.

        With `quote` an answer is a span of the documents, written under that constraint, or None.
        `how` is "whole", "select", "head" or "tail", by default the way that measures better for the
        model; `window` is in tokens. On a CPU what was read whole stays on the disk for the next time
        unless `keep` is False (engine/kept.py), and of long documents the index of their words
        (indexed.py). Where `how` is None, a question for the rows of a table reads everything that fits.
        `tell` is given each block of the reading's text as soon as it is known: how it is read, the
        summary, each answer, what was read.

        Raises TooLong if a question is too long or `how` is "whole" and the documents do not fit,
        XgenError for no document, an empty question or a number out of range.
        """
        _require_sound(documents, questions, max_answer_tokens)
        shelf.make_room()
        timing: dict[str, float] = {}
        with _timed(timing, "text"):
            prepared = self.prepare(
                documents, how if questions else None, window, questions, max_answer_tokens, keep
            )
        asker = prepared.asker
        reading = Reading(
            model=self.bundle.card.name,
            how=prepared.plan.how if questions else "whole",
            why=prepared.plan.why if questions else "a summary goes through every sentence",
            documents=_reports(asker.sources, prepared.offsets, set()),
        )
        tell(reading.head)
        if summarize:
            with _timed(timing, "summary"):
                reading = replace(reading, summary=summary_of(documents))
            tell(str(reading.summary))
        if questions:
            n_whole = asker.whole.n_tokens if asker.whole else 0
            hidden = quiet or not n_whole
            with _timed(timing, "read"), progress("reading", n_whole, "tok", hidden) as asker.advance:
                asker.keep, asker.quiet = keep and self.bundle.device.type == "cpu", quiet
                found = asker.read_whole()
                asker.advance(n_whole if found else 0)
            if found and not quiet:
                note("it was read before and found on this disk (`xgen cache`)")
            asker.advance = lambda n: None
            with _timed(timing, "answers"):
                answers = list(
                    _told(asker.ask(questions, quote, max_answer_tokens), len(questions), quiet, tell)
                )
            reading = replace(reading, answers=tuple(answers))
        read = {Passage(0, len(asker.sources.text), len(prepared.offsets))} if summarize else set[Passage]()
        reports = _reports(asker.sources, prepared.offsets, read | asker.passages_read)
        reading = replace(reading, documents=reports, timing=timing)
        tell(reading.coverage)
        return reading

    def prepare(
        self,
        documents: Sequence[Document],
        how: How | None = None,
        window: int | None = None,
        questions: Sequence[str] = (),
        max_answer_tokens: int = MAX_ANSWER_TOKENS,
        keep: bool = False,
    ) -> "Prepared":
        """Decide how documents are read and make them ready to be asked; see `read`.

        Room for `questions` and answers of `max_answer_tokens` is kept in the window.
        """
        for question in questions:
            self._require_short(question)
        sources = Sources.of(documents)
        offsets, ranking = indexed(sources, self.bundle.tokenizer, keep and bool(questions))
        limit = window_for(self.bundle.shape.max_seq_len, window)
        reserve = max(BESIDE_TOKENS, beside_document(self.bundle, questions, max_answer_tokens))
        default: How = "whole" if self.bundle.card.default_read == "whole" else "select"
        decided = plan(sources, offsets, how, default, limit, reserve, self.bundle.shape.max_seq_len)
        asker = Asker(self.bundle, sources, ranking, decided.whole, self._quoter, decided.for_rows)
        return Prepared(decided, asker, offsets)

    def _require_short(self, question: str) -> None:
        n_tokens = question_length(self.bundle, question)
        if n_tokens > MAX_QUESTION_TOKENS:
            raise TooLong(
                "the question",
                f"it has {n_tokens:,} tokens and {MAX_QUESTION_TOKENS} fit",
                "ask a shorter one, and put long text into a file to be read",
            )

    def chat(
        self,
        system: str | None = None,
        documents: Sequence[Document] = (),
        sampling: Sampling = LIKELIEST,
        stops: Sequence[str] = (),
    ) -> Chat:
        """Start a conversation, with documents to talk about if there are any; see Chat."""
        return Chat(self.bundle, system, documents, sampling, stops)


@contextmanager
def _timed(timing: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    timing[stage] = round(time.perf_counter() - started, 3)


def _told(
    answers: Iterator[Answer], n_questions: int, quiet: bool, tell: Callable[[str], None]
) -> Iterator[Answer]:
    """The answers, each told as it comes; in between people see how far it is and how long it may take."""
    started = time.perf_counter()
    for done, answer in enumerate(answers, 1):
        tell(str(answer))
        yield answer
        left = n_questions - done
        if left and not quiet:
            seconds = (time.perf_counter() - started) / done * left
            note(f"{done} of {n_questions} questions answered, about {seconds:.0f} s left")


def _reports(
    sources: Sources, offsets: Sequence[tuple[int, int]], passages: set[Passage]
) -> tuple[DocumentReport, ...]:
    """How many tokens of each document stand in the passages that were read.

    White space around a passage, which is in none, counts with it.
    """
    reports = []
    for index, document in enumerate(sources.documents):
        begin, end = sources.bounds(index)
        inside, reached = 0, begin
        for passage in sorted(passages, key=lambda p: p.start):
            start, stop = max(passage.start, reached), min(passage.end, end)
            if start >= stop:
                continue
            if not sources.text[reached:start].strip():
                start = reached
            if not sources.text[stop:end].strip():
                stop = end
            inside += tokens_inside(offsets, start, stop)
            reached = stop
        reports.append(
            DocumentReport(document.path, tokens_inside(offsets, begin, end), inside, document.dropped)
        )
    return tuple(reports)


def _require_sound(documents: Sequence[Document], questions: Sequence[str], max_answer_tokens: int) -> None:
    if not documents:
        raise XgenError("reading", "there is no document", "name at least one file")
    if not any(document.text.strip() for document in documents):
        paths = ", ".join(document.path for document in documents)
        raise XgenError(paths, "there is no text to read", "name a document with text")
    for question in questions:
        if not question.strip():
            raise XgenError("--ask", "the question is empty", "write what you want to know")
    if not 1 <= max_answer_tokens <= LONGEST_ANSWER_TOKENS:
        what, way_out = f"{max_answer_tokens} is out of range", f"use 1 to {LONGEST_ANSWER_TOKENS}"
        raise XgenError("--max-answer-tokens", what, way_out)
