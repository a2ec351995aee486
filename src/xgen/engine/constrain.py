"""Which ids may come next, and the best continuations under such a rule.

`substring` rules are llguidance's: a suffix automaton over the text, a mask over the vocabulary
in under a millisecond. Ours is the search: beams that share one tree, ended where the model itself
would close the quotation.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xgen.engine.cache import Rows
from xgen.engine.tree import ROOT, Tree
from xgen.model.transformer import Transformer


class Vocabulary:
    """The bytes of each id and the way text is encoded, in the form that llguidance takes.

    Ids without bytes are never allowed. The encoding matters: where only one continuation is left,
    the library allows nothing but the ids that `encode` gives for it.
    """

    def __init__(self, token_bytes: Sequence[bytes], encode: Callable[[str], list[int]]) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        nameless = [index for index, token in enumerate(token_bytes) if not token]
        # ids without text get bytes that no UTF-8 text holds
        self.tokens = [token or b"\xff%d" % index for index, token in enumerate(token_bytes)]
        self.special_token_ids = nameless
        self.eos_token_id = nameless[0] if nameless else len(token_bytes) - 1
        self.bos_token_id = None
        self.encode = encode
        self.has_text = np.array([bool(token) for token in token_bytes])
        self.single = {token: index for index, token in enumerate(self.tokens) if len(token) == 1}
        self.compiled = LLTokenizer(TokenizerWrapper(self), n_vocab=len(self.tokens))

    def __call__(self, text: bytes) -> list[int]:
        """Ids of `text`; of a piece that ends inside a character, byte by byte."""
        try:
            return self.encode(text.decode())
        except UnicodeDecodeError:
            return [self.single[bytes([byte])] for byte in text if bytes([byte]) in self.single]


@dataclass(frozen=True)
class Substring:
    """A rule: what is written must be a run of a text's chunks (words, or characters)."""

    matcher: Any
    vocabulary: Vocabulary

    def allowed(self) -> NDArray[np.int64]:
        """The ids that may come next, rising."""
        packed = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        places = np.flatnonzero(packed)  # most bytes of a mask are zero
        bits = np.unpackbits(packed[places, None], axis=1, bitorder="little")
        byte, bit = np.nonzero(bits)
        ids = places[byte] * 8 + bit
        ids = ids[ids < len(self.vocabulary.tokens)]
        text_ids: NDArray[np.int64] = ids[self.vocabulary.has_text[ids]]
        return text_ids

    def complete(self) -> bool:
        """Whether the text may end here: at the end of a whole chunk."""
        return bool(self.matcher.is_accepting())

    def take(self, token: int) -> "Substring":
        """The rule after `token`, which must be allowed; this one stays as it is."""
        matcher = self.matcher.deep_copy()
        if not matcher.consume_token(token):
            raise ValueError(f"id {token} is not allowed here: {matcher.get_error()}")
        return Substring(matcher, self.vocabulary)


def substring(vocabulary: Vocabulary, chunks: Sequence[str]) -> Substring:
    """The rule "a run of whole chunks, in their order".

    The caller says what a chunk is, such as a word, a number, a space or a character.
    """
    from llguidance import LLMatcher

    grammar = f"start: SPAN\nSPAN: %regex {json.dumps({'substring_chunks': list(chunks)})}"
    matcher = LLMatcher(vocabulary.compiled, grammar, log_level=0)
    if matcher.is_error():
        raise ValueError(matcher.get_error())
    return Substring(matcher, vocabulary)


MARGIN = 8.0
"""Nats below the best finished span at which a beam is given up: 3,000 times less likely."""


@dataclass(frozen=True)
class Span:
    """A finished continuation: its ids and its log-probability in nats, the closing included."""

    ids: tuple[int, ...]
    logprob: float


@dataclass(frozen=True)
class _Beam:
    rule: Substring
    node: int = ROOT
    ids: tuple[int, ...] = ()
    logprob: float = 0.0


@torch.inference_mode()
def best_spans(
    model: Transformer,
    rows: Rows,
    logits_BV: Tensor,
    rules: Sequence[Substring],
    closing_ids: Tensor,
    n_beams: int = 8,
    max_tokens: int = 48,
) -> list[list[Span]]:
    """For each row the likeliest spans that its rule allows, best first; the rows stay as they were.

    A span ends where its rule is complete, at the price of the summed probability of `closing_ids`
    (int64). Log-probabilities only fall, so beams below the `n_beams` best finished spans, or
    MARGIN below the very best, are dropped. Needs n_beams * max_tokens slots behind the rows.
    """
    tree, closing_ids = Tree(model, rows), closing_ids.to(logits_BV.device)
    beams = [[_Beam(rule)] for rule in rules]
    finished: list[list[Span]] = [[] for _ in rules]
    logprobs_BNV = logits_BV[:, None].log_softmax(-1)
    for depth in range(max_tokens + 1):
        if depth:
            closing_BN = logprobs_BNV[..., closing_ids].logsumexp(-1).tolist()
            for b, row in enumerate(beams):
                ended = [
                    Span(beam.ids, beam.logprob + price)
                    for beam, price in zip(row, closing_BN[b], strict=False)
                    if beam.rule.complete()
                ]
                finished[b] = sorted(finished[b] + ended, key=lambda span: -span.logprob)[:n_beams]
        if depth == max_tokens:
            break
        chosen = _chosen(beams, logprobs_BNV, finished, n_beams)
        n_new = max(map(len, chosen))
        if not n_new:
            break
        blank = [(_Beam(rules[0]), 0, 0.0)] * n_new  # a row with fewer beams is filled up
        filled = [(row + blank)[:n_new] for row in chosen]
        first = tree.n_nodes
        logprobs_BNV = tree.grow(
            [[token for _, token, _ in row] for row in filled],
            [[beam.node for beam, _, _ in row] for row in filled],
        ).log_softmax(-1)
        beams = [
            [
                _Beam(beam.rule.take(token), first + index, (*beam.ids, token), value)
                for index, (beam, token, value) in enumerate(row)
            ]
            for row in chosen
        ]
    return finished


def _chosen(
    beams: Sequence[Sequence[_Beam]], logprobs_BNV: Tensor, finished: Sequence[Sequence[Span]], n_beams: int
) -> list[list[tuple[_Beam, int, float]]]:
    """For each row the `n_beams` likeliest (beam, id, log-probability) that may still matter."""
    allowed = [[beam.rule.allowed() for beam in row] for row in beams]
    places = [(b, n, ids) for b, row in enumerate(allowed) for n, ids in enumerate(row)]
    if not places:
        return [[] for _ in beams]
    index = [np.concatenate([np.full(len(ids), place[axis]) for *place, ids in places]) for axis in (0, 1)]
    tokens = np.concatenate([ids for *_, ids in places])
    device = logprobs_BNV.device
    at = [torch.from_numpy(each).to(device) for each in (*index, tokens)]
    steps = logprobs_BNV[at[0], at[1], at[2]].cpu().numpy()
    chosen: list[list[tuple[_Beam, int, float]]] = []
    for b, row in enumerate(beams):
        mine = index[0] == b
        so_far = np.array([beam.logprob for beam in row])
        totals = steps[mine] + so_far[index[1][mine]] if row else steps[mine]
        floor = finished[b][0].logprob - MARGIN if finished[b] else -np.inf
        if len(finished[b]) == n_beams:
            floor = max(floor, finished[b][-1].logprob)
        order = np.argsort(-totals, kind="stable")[:n_beams]
        chosen.append(
            [
                (row[index[1][mine][i]], int(tokens[mine][i]), float(totals[i]))
                for i in order
                if totals[i] > floor
            ]
        )
    return chosen
