"""Which ids may come next, and the best continuations under such a rule.

`substring` rules are llguidance's: a suffix automaton over the text, a mask over the vocabulary
in under a millisecond. Ours is the search: beams that share one tree, ended where the model itself
would close the quotation.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.engine.tree import ROOT, Tree
from xgen.model.transformer import Transformer


class Vocabulary:
    """The bytes of each id, in the form that llguidance takes; ids without bytes are never allowed."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        nameless = [index for index, token in enumerate(token_bytes) if not token]
        # ids without text get bytes that no UTF-8 text holds
        self.tokens = [token or b"\xff%d" % index for index, token in enumerate(token_bytes)]
        self.special_token_ids = nameless
        self.eos_token_id = nameless[0] if nameless else len(token_bytes) - 1
        self.bos_token_id = None
        self.has_text = torch.tensor([bool(token) for token in token_bytes])
        self.compiled = LLTokenizer(TokenizerWrapper(self), n_vocab=len(self.tokens))

    def __call__(self, text: bytes) -> list[int]:
        """Ids of `text`, byte by byte; the library asks for it, masks do not depend on it."""
        single = {token: index for index, token in enumerate(self.tokens) if len(token) == 1}
        return [single[bytes([byte])] for byte in text if bytes([byte]) in single]


@dataclass(frozen=True)
class Substring:
    """A rule: what is written must stand in the text, word for word (or character for character)."""

    matcher: Any
    vocabulary: Vocabulary

    def allowed(self) -> Tensor:
        """Mask [V] (bool) of the ids that may come next."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        mask_V = torch.from_numpy(np.unpackbits(bits, bitorder="little").astype(bool))
        return mask_V[: len(self.vocabulary.tokens)] & self.vocabulary.has_text

    def complete(self) -> bool:
        """Whether the text may end here: at the end of a whole word."""
        return bool(self.matcher.is_accepting())

    def take(self, token: int) -> "Substring":
        """The rule after `token`, which must be allowed; this one stays as it is."""
        matcher = self.matcher.deep_copy()
        if not matcher.consume_token(token):
            raise ValueError(f"id {token} is not allowed here: {matcher.get_error()}")
        return Substring(matcher, self.vocabulary)


def substring(vocabulary: Vocabulary, text: str, by_characters: bool = False) -> Substring:
    """The rule "a substring of `text`", of whole words, or of characters where words have no spaces."""
    from llguidance import LLMatcher

    kind = "substring_chars" if by_characters else "substring_words"
    grammar = f"start: SPAN\nSPAN: %regex {json.dumps({kind: text})}"
    matcher = LLMatcher(vocabulary.compiled, grammar, log_level=0)
    if matcher.is_error():
        raise ValueError(matcher.get_error())
    return Substring(matcher, vocabulary)


@dataclass(frozen=True)
class Span:
    """A finished continuation: its ids and its log-probability in nats, the closing included."""

    ids: tuple[int, ...]
    logprob: float


@dataclass(frozen=True)
class _Beam:
    rule: Substring
    node: int = ROOT
    ids: tuple[int, ...] = field(default=())
    logprob: float = 0.0


@torch.inference_mode()
def best_spans(
    model: Transformer,
    cache: Cache,
    logits: Tensor,
    rule: Substring,
    closing_ids: Tensor,
    n_beams: int = 8,
    max_tokens: int = 48,
) -> list[Span]:
    """The likeliest spans that `rule` allows, best first; the cache is left as it was.

    A span ends where the rule is complete, at the price of the summed probability of
    `closing_ids` (int64). Log-probabilities only fall, so beams below the `n_beams` best finished
    spans are dropped: what is found is the best of what the beams reach.
    """
    tree, beams, finished = Tree(model, cache), [_Beam(rule)], list[Span]()
    n_vocab = logits.shape[-1]
    logits_NV, closing_ids = logits[None], closing_ids.to(logits.device)
    for depth in range(max_tokens + 1):
        logprobs_NV = logits_NV.log_softmax(-1)
        if depth:
            closing = logprobs_NV[:, closing_ids].logsumexp(-1).tolist()
            finished += [
                Span(beam.ids, beam.logprob + price)
                for beam, price in zip(beams, closing, strict=True)
                if beam.rule.complete()
            ]
            finished = sorted(finished, key=lambda span: -span.logprob)[:n_beams]
        if depth == max_tokens:
            break
        allowed_NV = torch.stack([beam.rule.allowed() for beam in beams]).to(logits.device)
        so_far = torch.tensor([beam.logprob for beam in beams], device=logits.device)
        totals = (logprobs_NV + so_far[:, None]).masked_fill(~allowed_NV, float("-inf")).flatten()
        values, places = totals.topk(n_beams)
        floor = finished[-1].logprob if len(finished) == n_beams else float("-inf")
        chosen = [
            (beams[place // n_vocab], place % n_vocab, value)
            for value, place in zip(values.tolist(), places.tolist(), strict=True)
            if value > floor
        ]
        if not chosen:
            break
        logits_NV = tree.grow([token for _, token, _ in chosen], [beam.node for beam, _, _ in chosen])
        first = len(tree.depths) - len(chosen)
        beams = [
            _Beam(beam.rule.take(token), first + index, (*beam.ids, token), value)
            for index, (beam, token, value) in enumerate(chosen)
        ]
    return finished
