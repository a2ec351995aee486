"""What reading gives back: answers with their evidence, summaries with their coverage, and what was left out.

Frozen records, filled by `read/reader.py`. `str()` of a Reading is what `xgen read` prints,
`Reading.to_json()` what `xgen read --json` prints.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MAX_ANSWER_TOKENS = 64
"""The longest answer, in tokens, unless more are asked for; here because the command line's help shows it."""

HOW_WORDS = {
    "whole": "read whole",
    "select": "read in selected passages",
    "head": "read from the head",
    "tail": "read from the tail",
}


@dataclass(frozen=True)
class Citation:
    """A place in a document: `text[start:end] == quote` whenever `verified`.

    `start` and `end` count characters of the extracted text (`xgen tokens --text FILE` prints it);
    `page` and `line` are 1-based, None where the format has no such thing.
    """

    quote: str
    path: str
    page: int | None
    line: int | None
    start: int
    end: int
    verified: bool

    @property
    def place(self) -> str:
        """The place in words, such as `report.pdf, page 3, line 12`."""
        page = [] if self.page is None else [f"page {self.page}"]
        line = [] if self.line is None else [f"line {self.line}"]
        return ", ".join([self.path, *page, *line])

    def __str__(self) -> str:
        if self.verified:
            return f"\u201c{_one_line(self.quote)}\u201d\n[{self.place}]"
        return f"near {self.place} (the words differ there): {_one_line(self.quote)}"


@dataclass(frozen=True)
class Span:
    """Words of the document, the measured share of right answers among such spans, and their place."""

    text: str
    right_share: float | None
    citation: Citation

    def __str__(self) -> str:
        share = "" if self.right_share is None else f" ({right_share_sentence(self.right_share)})"
        return f"the evidence says: \u201c{_one_line(self.text)}\u201d{share}\n{self.citation}"


@dataclass(frozen=True)
class Row:
    """An entry that an answer goes through: what decides, and whether it is one of those asked for.

    `says` is what the model takes a rule in the document to say of it, "" without a rule.
    """

    name: str
    value: str
    holds: bool
    citation: Citation
    says: str = ""

    def __str__(self) -> str:
        said = f"{_one_line(self.name)}: {_one_line(self.value)}"
        said += f", so {_one_line(self.says)}" if self.says else ""
        return f"{'yes' if self.holds else 'no ':3} {said} [{self.citation.place}]"


@dataclass(frozen=True)
class Answer:
    """One question's answer; `answer` is None for "not in this document".

    `score` orders answers by trust within one model; `right_share` (0 to 1) is the measured share
    of right answers among development questions with such a score, of free answers among those that hold
    the best span or that do not, as this one; None where nothing was measured: an unmeasured model or
    language, no answer, or one that does not hold the span where only spans were measured. That
    span is then `evidence`, as it is where no place bears out the answer. `unsupported` holds the
    sentences, numbers, dates and names of the answer that the document does not bear out; `read` are the
    passages that were read, empty where all was;
    `cut` says that a free answer ends at the limit of its tokens. `rows` are the entries of a table or list
    that the answer was found from, one by one, where it was asked which of them have a property;
    `passed_over` are lines of the same table that look like them and are none.
    """

    question: str
    answer: str | None = None
    score: float = 0.0
    right_share: float | None = None
    citations: tuple[Citation, ...] = ()
    unsupported: tuple[str, ...] = ()
    evidence: Span | None = None
    cut: bool = False
    prompt_tokens: int = 0
    answer_tokens: int = 0
    read: tuple[Citation, ...] = ()
    rows: tuple[Row, ...] = ()
    passed_over: tuple[Citation, ...] = ()

    @property
    def found(self) -> bool:
        """False for "not in this document"."""
        return self.answer is not None

    def to_json(self) -> dict[str, Any]:
        """The answer as `--json` shows it: a dictionary of plain values."""
        return {
            "question": self.question,
            "answer": self.answer,
            "found": self.found,
            "score": self.score,
            "right_share": self.right_share,
            "citations": [asdict(citation) for citation in self.citations],
            "unsupported": list(self.unsupported),
            "evidence": None if self.evidence is None else asdict(self.evidence),
            "cut": self.cut,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "read": [asdict(passage) for passage in self.read],
            "rows": [asdict(row) for row in self.rows],
            "passed_over": [asdict(line) for line in self.passed_over],
        }

    def __str__(self) -> str:
        parts = [f"Q: {self.question}", f"A: {self.answer}" if self.answer else "A: Not in this document."]
        details = [] if self.right_share is None else [right_share_sentence(self.right_share)]
        if self.cut:
            details.append(f"cut at {self.answer_tokens} tokens; --max-answer-tokens takes more")
        details += [str(each) for each in self.rows or self.citations]
        details += [f"passed over: {line}" for line in self.passed_over]
        details += [f"not borne out by the document: {_one_line(piece)}" for piece in self.unsupported]
        if self.evidence is not None:
            details.append(str(self.evidence))
        if self.read:
            details.append("read for this: " + "; ".join(passage.place for passage in self.read))
        details.append(f"{self.prompt_tokens:,} tokens in, {self.answer_tokens:,} out")
        return "\n".join([*parts, *(_indented(detail) for detail in details)])


@dataclass(frozen=True)
class DocumentReport:
    """How much of a document was read; `dropped` says in sentences what was left out."""

    path: str
    tokens_total: int
    tokens_read: int
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.tokens_total:,} tokens"]
        return "\n".join(lines + [_indented(f"left out: {dropped}") for dropped in self.dropped])

    @property
    def coverage(self) -> str:
        """How much was read, in words."""
        return f"{self.path}: {self.tokens_read:,} of {self.tokens_total:,} tokens read"


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary; `citation` is the place it rests on, None where it rests on none."""

    text: str
    citation: Citation | None

    def __str__(self) -> str:
        place = "no place in the document bears this out" if self.citation is None else self.citation.place
        return f"{_one_line(self.text)} [{place}]"


@dataclass(frozen=True)
class Summary:
    """Sentences in the document's order, and which parts of it they were chosen from."""

    sentences: tuple[SummarySentence, ...]
    coverage: str

    def to_json(self) -> dict[str, Any]:
        """The summary as `--json` shows it."""
        return {"coverage": self.coverage, "sentences": [asdict(sentence) for sentence in self.sentences]}

    def __str__(self) -> str:
        return "\n".join([f"Summary ({self.coverage})", *(_indented(str(s)) for s in self.sentences)])


@dataclass(frozen=True)
class Reading:
    """Everything one call of `Reader.read` found out; `timing` is in seconds, by stage."""

    model: str
    how: Literal["whole", "select", "head", "tail"]
    why: str
    documents: tuple[DocumentReport, ...] = ()
    summary: Summary | None = None
    answers: tuple[Answer, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The reading as `--json` shows it: dictionaries, lists and plain values only."""
        return {
            "model": self.model,
            "how": self.how,
            "why": self.why,
            "documents": [{**asdict(report), "dropped": list(report.dropped)} for report in self.documents],
            "summary": None if self.summary is None else self.summary.to_json(),
            "answers": [answer.to_json() for answer in self.answers],
            "timing": dict(self.timing),
        }

    def __str__(self) -> str:
        summary = [] if self.summary is None else [self.summary]
        return "\n\n".join(map(str, [self.head, *summary, *self.answers, self.coverage]))

    @property
    def head(self) -> str:
        """How the documents are read and why, and their sizes: known before anything is read."""
        return "\n".join([f"{self.model}, {HOW_WORDS[self.how]}: {self.why}", *map(str, self.documents)])

    @property
    def coverage(self) -> str:
        """What of each document was read."""
        return "\n".join(report.coverage for report in self.documents)


def right_share_sentence(share: float) -> str:
    """A measured share (0 to 1) as a person says it: "answers like this are right 6 times in 10"."""
    times = round(share * 10)
    return f"answers like this are right {times} time{'' if times == 1 else 's'} in 10"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.split("\n"))
