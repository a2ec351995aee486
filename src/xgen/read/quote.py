"""Quotations: spans written under a constraint, tidied, and put in their place.

A span is never searched for afterwards to see whether it exists: the rule lets only words of the text
be written. What is looked up here is which of its occurrences the question means.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from xgen.bundle import Bundle
from xgen.engine.cache import Rows
from xgen.engine.constrain import Substring, Vocabulary, best_spans, substring
from xgen.read.prompt import QUOTE
from xgen.read.words import chunks, words
from xgen.text.sentences import sentence_spans

_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
_EDGES = _SPACE + ".,;:!?\u3002\uff0c\u3001\uff1b\uff1a\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_PAIRS = {")": "(", "]": "[", "}": "{", "\uff09": "\uff08", "\u300d": "\u300c", "\u300f": "\u300e"}


@dataclass(frozen=True)
class Candidate:
    """A span of the text and the log-probability (nats) with which the model would write and close it."""

    text: str
    logprob: float
    n_tokens: int


class Quoter:
    """Writes spans of a text with a model; holds what is compiled once for a vocabulary."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The bytes of every id that may be written; rows of the model without text have none."""
        tokenizer, n_rows = self.bundle.tokenizer, self.bundle.shape.vocab_size
        known = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        return Vocabulary(known[:n_rows] + [b""] * (n_rows - len(known)), tokenizer.encode)

    def rule(self, text: str) -> Substring:
        """The rule "a substring of `text`"."""
        return substring(self.vocabulary, chunks(text))

    @cached_property
    def closing_ids(self) -> Tensor:
        """Ids that end a span: those that begin with the closing mark."""
        mark = QUOTE.closing.encode()
        return torch.tensor([i for i, t in enumerate(self.vocabulary.tokens) if t.startswith(mark)])

    def candidates(
        self, rows: Rows, logits_BV: Tensor, rules: Sequence[Substring], n_beams: int, max_tokens: int
    ) -> list[list[Candidate]]:
        """For each row the likeliest different spans, best first.

        Two writings of one span count as the likelier.
        """
        found = []
        model = self.bundle.model
        for spans in best_spans(model, rows, logits_BV, rules, self.closing_ids, n_beams, max_tokens):
            different: dict[str, Candidate] = {}
            for span in spans:
                text = tidy(self.bundle.tokenizer.decode(span.ids))
                if text and text not in different:
                    different[text] = Candidate(text, span.logprob, len(span.ids))
            found.append(list(different.values()))
        return found


def tidy(span: str) -> str:
    """The span without white space, quotation marks and punctuation at its ends; still a substring.

    A closing bracket stays if its partner is inside, so "Tesla (1856)" keeps both.
    """
    span = span.strip(_EDGES)
    while span and span[-1] in _PAIRS and _PAIRS[span[-1]] not in span:
        span = span[:-1].strip(_EDGES)
    while (
        span and span[0] in _PAIRS.values() and not any(c in span for c, o in _PAIRS.items() if o == span[0])
    ):
        span = span[1:].strip(_EDGES)
    return span


def locate(text: str, span: str, question: str, begin: int, stop: int) -> tuple[int, int]:
    """The occurrence of `span` in `text[begin:stop]` that the question means: (start, end) in `text`.

    It is the one whose sentence shares most words with the question; then one that stands as whole
    words; then the first. Raises ValueError if there is none, which the constraint rules out.
    """
    asked = set(words(question))
    best: tuple[tuple[int, bool], int] | None = None
    for match in re.finditer(re.escape(span), text[begin:stop]):
        start = begin + match.start()
        sentence = sentence_around(text, start, start + len(span))
        shared = len(asked & set(words(text[slice(*sentence)])))
        rank = (shared, _stands_alone(text, start, start + len(span)))
        if best is None or rank > best[0]:
            best = (rank, start)
    if best is None:
        raise ValueError(f"{span!r} does not stand in what was read")
    return best[1], best[1] + len(span)


def sentence_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence, or run of sentences, that holds `text[start:end]`: (start, end)."""
    begin = max(text.rfind("\n\n", 0, start), start - 3000, 0)
    stop = text.find("\n\n", end)
    stop = min(len(text) if stop < 0 else stop, end + 3000)
    holding = [(a, b) for a, b in sentence_spans(text, begin, stop) if a < end and b > start]
    return min(start, holding[0][0]), max(end, holding[-1][1])


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = text[start - 1 : start]
    after = text[end : end + 1]
    return not (before.isalnum() and text[start].isalnum()) and not (
        after.isalnum() and text[end - 1].isalnum()
    )
