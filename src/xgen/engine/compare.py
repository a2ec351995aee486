"""How near a model in fewer bits stays to itself in more, on a given text."""

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.model.transformer import Transformer

CHUNK = 128
"""Tokens whose logits are held at once: of a vocabulary of 150,000 they take 80 MB a model."""

PERPLEXITY_CHANGE = 0.005
"""The largest share by which the perplexity of a text may rise where 8 bits count as good enough."""

FIRST_CHOICE_LOSS = 0.005
"""How much less often than 16 bits they may choose the same token as the reference."""


@dataclass(frozen=True)
class Subject:
    """A model in some types, with an empty cache of its own."""

    model: Transformer
    cache: Cache


@dataclass(frozen=True)
class Difference:
    """What one of the models says of a text, beside the reference; perplexities over the same tokens.

    `mean_kl` and `max_kl` are Kullback-Leibler divergences KL(reference || this) of the next token, in
    nats; the largest stands behind the token number `max_kl_at`. `same_first` is the share of tokens
    behind which both choose the same next one.
    """

    n_tokens: int
    mean_kl: float
    max_kl: float
    max_kl_at: int
    same_first: float
    perplexity: float
    perplexity_of_reference: float

    @property
    def perplexity_change(self) -> float:
        """The share by which the perplexity is higher."""
        return self.perplexity / self.perplexity_of_reference - 1


@dataclass(frozen=True)
class Continuation:
    """Greedy text, and by how much each id was likelier than the next best, in nats."""

    ids: tuple[int, ...]
    margins: tuple[float, ...]


@torch.inference_mode()
def compare(
    reference: Subject,
    others: Sequence[Subject],
    ids: Sequence[int],
    advance: Callable[[int], None] = lambda n: None,
) -> list[Difference]:
    """Read `ids` by all models side by side; what each of `others` makes of them beside the reference.

    Every token but the first is predicted once, from all before it. The caches hold all ids afterwards.
    `advance(n)` is called as they are read. ValueError for fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError("nothing is predicted in a text of less than two tokens")
    tallies = [_Tally() for _ in others]
    surprise = 0.0
    for begin in range(0, len(ids), CHUNK):
        chunk = ids[begin : begin + CHUNK]
        following = ids[begin + 1 : begin + len(chunk) + 1]
        targets_N = torch.tensor(following, dtype=torch.long, device=reference.model.device)
        log_p_NV = _log_shares(reference, chunk, len(targets_N))
        surprise -= _of(log_p_NV, targets_N)
        for tally, other in zip(tallies, others, strict=True):
            tally.add(begin, log_p_NV, _log_shares(other, chunk, len(targets_N)), targets_N)
        advance(len(chunk))
    n_tokens = len(ids) - 1
    return [
        Difference(
            n_tokens,
            max(0.0, tally.kl / n_tokens),
            tally.max_kl,
            tally.max_kl_at,
            tally.same_first / n_tokens,
            math.exp(tally.surprise / n_tokens),
            math.exp(surprise / n_tokens),
        )
        for tally in tallies
    ]


@dataclass
class _Tally:
    """Sums over the tokens so far."""

    kl: float = 0.0
    max_kl: float = 0.0
    max_kl_at: int = 0
    same_first: int = 0
    surprise: float = 0.0

    def add(self, begin: int, log_p_NV: Tensor, log_q_NV: Tensor, targets_N: Tensor) -> None:
        if not len(targets_N):
            return
        kl_N = (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(-1)
        self.kl += float(kl_N.double().sum())
        largest, at = kl_N.max(0)
        if float(largest) > self.max_kl:
            self.max_kl, self.max_kl_at = float(largest), begin + int(at)
        self.same_first += int((log_p_NV.argmax(-1) == log_q_NV.argmax(-1)).sum())
        self.surprise -= _of(log_q_NV, targets_N)


def _log_shares(subject: Subject, chunk: Sequence[int], n: int) -> Tensor:
    """Read a chunk; log-probabilities [n, V] (fp32) of what follows its first `n` tokens."""
    model, cache = subject.model, subject.cache
    hidden_BTM = model(
        torch.tensor([list(chunk)], device=model.device), cache=cache.buffers, start=cache.length
    )
    cache.length += len(chunk)
    return model.logits(hidden_BTM[0, :n]).log_softmax(-1)


def _of(log_p_NV: Tensor, targets_N: Tensor) -> float:
    return float(log_p_NV.gather(-1, targets_N[:, None]).double().sum())


def continued(subject: Subject, last: int, hidden_ids: Set[int], n_tokens: int) -> Continuation:
    """The likeliest `n_tokens` ids behind what the cache holds, one after another; `last` is its last id.

    `hidden_ids` are never chosen. What ends a reply ends nothing here.
    """
    margins: list[float] = []
    hidden = torch.tensor(sorted(hidden_ids), dtype=torch.long, device=subject.model.device)

    def likeliest(logits_V: Tensor) -> int:
        two = logits_V.index_fill(0, hidden, float("-inf")).log_softmax(-1).topk(2)
        margins.append(float(two.values[0] - two.values[1]))
        return int(two.indices[0])

    cache = subject.cache
    cache.cut(cache.length - 1)
    logits_V = prefill(subject.model, cache, [last])
    ids = tuple(generate(subject.model, cache, logits_V, likeliest, frozenset(), n_tokens))
    return Continuation(ids, tuple(margins[: len(ids)]))


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two texts differ, or None where they are the same."""
    if tuple(one) == tuple(other):
        return None
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def faults(found: Difference, of_16_bits: Difference | None) -> list[str]:
    """What speaks against `found`; nothing is the verdict "good enough".

    The perplexity rises by at most PERPLEXITY_CHANGE; where the reference is fp32 and 16 bits stand beside,
    the same first choice is made at most FIRST_CHOICE_LOSS less often than by them.
    """
    said = []
    if found.perplexity_change > PERPLEXITY_CHANGE:
        said.append(f"perplexity rises by {found.perplexity_change:.2%}, more than {PERPLEXITY_CHANGE:.1%}")
    if of_16_bits is not None and found.same_first < of_16_bits.same_first - FIRST_CHOICE_LOSS:
        said.append(
            f"the first choice is the same for {found.same_first:.1%} of tokens, and for "
            f"{of_16_bits.same_first:.1%} in 16 bits, more than half a point apart"
        )
    return said
