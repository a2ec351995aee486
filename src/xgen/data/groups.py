"""Groups: one document and many questions, each of which sees the document and itself only.

A row of them trains exactly what reading does: the prompt up to the document's end is read once (part 0 of
a record), then each question goes on from there by itself (parts 1, 2, ...), and its reply is learned. The
words of the prompts are reading's own, handed in by whoever may know them.

A document is asked about alone, or stands at a random place among others in a context of thousands of tokens
and everything in it is asked about. Every question is asked once, or rejected by name. Questions that the
context does not answer are borrowed from other documents.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from xgen.data.chats import TuningRecord, end_of_reply, rejected
from xgen.data.document import Document, Rejected
from xgen.data.questions import KINDS, Passage, Question, cut_passage, read_passage
from xgen.text.chat import ChatTemplate, Message, Piece
from xgen.text.rows import begins_rows
from xgen.text.tokenizer import Tokenizer

LONG_REPLY = 300
"""Characters from which a reply is no "one or two short sentences", unless it goes through rows."""

AT_LENGTH = "Answer in several sentences."

BESIDE_TOKENS = 256
"""Of a record that are left beside its document."""

_TRIES = 8


@dataclass(frozen=True)
class Wording:
    """`request` follows the question, the reply begins with `opening`, and a span ends with `closing`."""

    request: str
    opening: str = ""
    closing: str = ""


@dataclass(frozen=True)
class ReadingWords:
    """How reading puts things (read/prompt.py), as plain values.

    `document` stands before a document and `question` before a question; `gap` stands between documents.
    `quote` asks for a span, `free` for an answer in other words; `absent` is the reply where there is none.
    """

    system: str
    document: str
    question: str
    gap: str
    absent: str
    quote: Wording
    free: Wording


@dataclass(frozen=True)
class GroupOptions:
    """How groups are made: `[source.groups]` of a corpus recipe.

    `tokens` is the longest record, document and all its questions; no row may be shorter. `packed_share` of
    the documents are asked about among others, in contexts whose length is drawn between the two numbers of
    `contexts` (tokens, log-uniform); longer documents are cut. Of one document at most `packed_questions`
    are asked in one such context, and `most_questions` at all (0: all). Spans of more than `longest_answer`
    characters (Chinese and Japanese ones count three) are left out. `free_share` of the questions that a
    span answers are asked freely, and the span is the reply; the others ask for the quotation. `absent_share`
    of a group's questions have no answer. ValueError for numbers that cannot be.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    tokens: int = 8192
    contexts: tuple[int, int] = (2048, 7168)
    packed_share: float = 0.5
    packed_questions: int = 4
    most_questions: int = 0
    longest_answer: int = 60
    free_share: float = 0.5
    absent_share: float = 0.1
    kinds: tuple[str, ...] = KINDS
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.contexts
        if not 1 <= low <= high <= self.tokens - BESIDE_TOKENS:
            raise ValueError(f"contexts must rise and leave {BESIDE_TOKENS} of {self.tokens} tokens")
        shares = self.packed_share, self.free_share, self.absent_share
        if not all(0 <= share <= 1 for share in shares) or self.absent_share == 1:
            raise ValueError("packed_share, free_share and absent_share must be shares, the last below 1")
        if self.packed_questions < 1 or self.most_questions < 0 or self.longest_answer < 1:
            raise ValueError("packed_questions, most_questions and longest_answer count things")
        if strange := sorted(set(self.kinds) - set(KINDS)):
            raise ValueError(f"there are no questions of the kind {strange[0]}")


def group_records(
    documents: Iterable[Document | Rejected],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    words: ReadingWords,
    options: GroupOptions,
) -> Iterator[TuningRecord | Rejected]:
    """Groups of the questions of all documents (`text` is a line of JSON, data/questions.py), by language.

    The same input gives the same groups. Rejected are documents and questions that `read_passage` and
    `cut_passage` name, questions over_the_cap, and those too_long for a record.
    """
    prompts = Prompts(tokenizer, template, words)
    languages: dict[str, list[Passage]] = {}
    for document in documents:
        if isinstance(document, Rejected):
            yield document
            continue
        for found in read_passage(document, options.kinds, options.longest_answer):
            parts = [found] if isinstance(found, Rejected) else _within_limits(found, tokenizer, options)
            for part in parts:
                if isinstance(part, Rejected):
                    yield part
                else:
                    languages.setdefault(part.document.language, []).append(part)
    for language in sorted(languages):
        yield from _Groups(languages[language], prompts, options, language).records()


class Prompts:
    """The prompts of reading, in pieces, as ids."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, words: ReadingWords) -> None:
        """BadModel if the template cannot hold them, or nothing ends a reply (`end_of_reply`)."""
        rendered = template.render([Message("system", words.system), Message("user", "x")])
        turn = max(i for i, piece in enumerate(rendered) if piece == Piece("x", markup=False))
        self.words = words
        self._tokenizer, self._template = tokenizer, template
        self._before, self._after = rendered[:turn], rendered[turn + 1 :]
        self._end = end_of_reply(tokenizer, template)

    def length(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self._tokenizer.encode(text))

    def document_ids(self, text: str) -> list[int]:
        """Ids of the prompt up to the end of the document."""
        return self._tokenizer.encode_markup([*self._before, Piece(self.words.document + text, markup=False)])

    def question_ids(self, wording: Wording, question: str) -> list[int]:
        """Ids of the rest of the prompt: the question, the turn's end, the reply's opening."""
        asked = f"{self.words.question}{question.strip()}\n{wording.request}"
        opening = self._template.reply_begun(wording.opening)
        return self._tokenizer.encode_markup([Piece(asked, markup=False), *self._after, *opening])

    def reply_ids(self, wording: Wording, reply: str) -> list[int]:
        """Ids of the reply and of what ends it, all of them learned."""
        before = self._template.reply_opening
        left_to_it = "" if wording.opening else before[len(before.rstrip()) :]
        words = Piece(reply + wording.closing, markup=False)
        return self._tokenizer.encode_markup([Piece(left_to_it, markup=True), words, self._end])

    def wording(self, question: Question, freely: bool) -> Wording:
        """How a question that has an answer is put; `freely` says whether a span is asked for as such."""
        if question.kind == "extractive":
            return self.words.free if freely else self.words.quote
        answer = question.answer or ""
        is_long = len(answer) > LONG_REPLY and not begins_rows(answer)
        return Wording(AT_LENGTH) if is_long else self.words.free


@dataclass(frozen=True)
class _Part:
    """A question as it will stand in a record: `ids` from `n_prompt` on are learned."""

    question: Question
    wording: Wording
    ids: list[int]
    n_prompt: int


class _Waiting:
    """A passage with those of its questions that are still to be asked."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.n_tokens = passage.n_tokens
        self.questions = deque(passage.questions)


class _Groups:
    """The groups of one language."""

    def __init__(
        self, passages: Sequence[Passage], prompts: Prompts, options: GroupOptions, language: str
    ) -> None:
        self._random = random.Random(f"{options.seed} {language}")
        self._prompts = prompts
        self._options = options
        self._passages = passages
        self._names: Counter[str] = Counter()
        self._gap_tokens = prompts.length(f".{prompts.words.gap}.") - 2

    def records(self) -> Iterator[TuningRecord | Rejected]:
        alone: list[_Waiting] = []
        packed: list[_Waiting] = []
        for passage in self._random.sample(self._passages, len(self._passages)):
            waiting = _Waiting(passage)
            # another document might answer what this one does not
            is_open = any(question.answer is None for question in passage.questions)
            may_be_packed = waiting.n_tokens <= self._options.contexts[0] and not is_open
            is_packed = self._random.random() < self._options.packed_share and may_be_packed
            (packed if is_packed else alone).append(waiting)
        for waiting in alone:
            while waiting.questions:
                yield from self._group([waiting], [waiting], None)
        queue = deque(packed)
        others = [w for w in [*packed, *alone] if w.n_tokens <= self._options.contexts[0]]
        while queue:
            asked, context = self._context(queue, others)
            yield from self._group(asked, context, self._options.packed_questions if queue else None)
            queue += [waiting for waiting in asked if waiting.questions]

    def _context(
        self, queue: deque[_Waiting], others: Sequence[_Waiting]
    ) -> tuple[list[_Waiting], list[_Waiting]]:
        """Passages from the queue, to be asked about, and with them the context that they stand in.

        It is filled up with `others` where the queue does not suffice.
        """
        low, high = self._options.contexts
        room = math.exp(self._random.uniform(math.log(low), math.log(high)))
        asked = [queue.popleft()]
        room -= asked[0].n_tokens
        while queue and queue[0].n_tokens + self._gap_tokens <= room:
            asked.append(queue.popleft())
            room -= asked[-1].n_tokens + self._gap_tokens
        context = list(asked)
        if not queue:
            for other in self._random.sample(others, len(others)):
                if other not in asked and other.n_tokens + self._gap_tokens <= room:
                    context.append(other)
                    room -= other.n_tokens + self._gap_tokens
        return asked, self._random.sample(context, len(context))

    def _group(
        self, asked: Sequence[_Waiting], context: Sequence[_Waiting], most: int | None
    ) -> Iterator[TuningRecord | Rejected]:
        """One record of a context: up to `most` questions of each passage in `asked`, while there is room."""
        n_rounds = max(len(waiting.questions) for waiting in asked) if most is None else most
        text = self._prompts.words.gap.join(waiting.passage.document.text for waiting in context)
        head = self._prompts.document_ids(text)
        room = self._options.tokens - len(head)
        for_answered = room * (1 - self._options.absent_share)
        parts: list[_Part] = []
        misfits = 0
        for waiting in (each for _ in range(n_rounds) for each in asked):
            if not waiting.questions or misfits == _TRIES:
                continue
            part = self._part(waiting.questions[0], parts)
            if len(part.ids) <= (for_answered if parts else room):
                waiting.questions.popleft()
                parts.append(part)
                room -= len(part.ids)
                for_answered -= len(part.ids)
            else:
                misfits += 1
        if not parts:
            waiting = next(waiting for waiting in asked if waiting.questions)
            question = waiting.questions.popleft()
            yield rejected(waiting.passage.document, "too_long", question.text, question.id)
            return
        for part in self._borrowed(context, text, parts):
            if len(part.ids) <= room:
                parts.append(part)
                room -= len(part.ids)
        yield self._record(context, text, head, parts)

    def _borrowed(self, context: Sequence[_Waiting], text: str, parts: Sequence[_Part]) -> Iterator[_Part]:
        """Questions of other documents that nothing in `text` answers, in the number that is lacking."""
        share = self._options.absent_share
        n_open = sum(part.question.answer is None for part in parts)
        wanted = (len(parts) - n_open) * share / (1 - share) - n_open
        n_wanted = max(0, math.floor(wanted + self._random.random()))
        kin, said = {waiting.passage.title for waiting in context}, text.casefold()
        for _ in range(n_wanted * _TRIES):
            if not n_wanted:
                return
            passage = self._random.choice(self._passages)
            question = self._random.choice(passage.questions)
            is_span = question.kind == "extractive" and question.answer is not None
            if is_span and passage.title not in kin and str(question.answer).casefold() not in said:
                n_wanted -= 1
                yield self._part(replace(question, answer=None, places=()), parts)

    def _part(self, question: Question, others: Sequence[_Part]) -> _Part:
        """A question made ids; one without an answer is put as another one of the group is."""
        if question.answer is None:
            put = [part.wording for part in others if part.question.answer is not None]
            wording = self._random.choice(put) if put else self._prompts.words.quote
            reply = self._prompts.words.absent
        else:
            freely = self._random.random() < self._options.free_share
            wording, reply = self._prompts.wording(question, freely), question.answer
        asked = self._prompts.question_ids(wording, question.text)
        return _Part(question, wording, asked + self._prompts.reply_ids(wording, reply), len(asked))

    def _record(
        self, context: Sequence[_Waiting], text: str, head: list[int], parts: Sequence[_Part]
    ) -> TuningRecord:
        documents = [waiting.passage.document for waiting in context]
        name = documents[0].id + (f"+{len(documents) - 1}" if len(documents) > 1 else "")
        self._names[name] += 1
        n = self._names[name]
        absent = self._prompts.words.absent
        said = [f"{part.question.text}\n{part.question.answer or absent}" for part in parts]
        document = replace(
            documents[0],
            text="\n\n".join([text, *said]),
            id=name if n == 1 else f"{name}.{n}",
            licence="; ".join(sorted({document.licence for document in documents})),
        )
        trained = [0] * len(head)
        for part in parts:
            trained += [0] * part.n_prompt + [1] * (len(part.ids) - part.n_prompt)
        ids = [*head, *(i for part in parts for i in part.ids)]
        return TuningRecord(document, ids, trained, [len(head), *(len(part.ids) for part in parts)])


def _within_limits(
    passage: Passage, tokenizer: Tokenizer, options: GroupOptions
) -> Iterator[Passage | Rejected]:
    """The passage cut to the longest context, with no more questions than it may have."""
    if 0 < options.most_questions < len(passage.questions):
        chance = random.Random(f"{options.seed} {passage.document.id}")
        kept = set(chance.sample(range(len(passage.questions)), options.most_questions))
        for i, question in enumerate(passage.questions):
            if i not in kept:
                yield rejected(passage.document, "over_the_cap", question.text, question.id)
        some = tuple(question for i, question in enumerate(passage.questions) if i in kept)
        passage = replace(passage, questions=some)
    yield from cut_passage(passage, tokenizer, options.contexts[1])
