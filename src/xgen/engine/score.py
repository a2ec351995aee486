"""How likely the model finds given texts: log-probabilities in nats."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.engine.tree import ROOT, Tree
from xgen.model.transformer import Transformer


@torch.inference_mode()
def prefill_scored(model: Transformer, cache: Cache, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Read `ids` behind the cache in one pass.

    Returns the logits [V] behind the last one, and the log-probabilities [len(ids) - 1] (fp32,
    on the CPU) of every id but the first, each given all before it.
    """
    device = model.embedding.weight.device
    hidden = model(torch.tensor([list(ids)], device=device), cache=cache.buffers, start=cache.length)[0]
    cache.length += len(ids)
    logits_TV = model.logits(hidden)
    targets = torch.tensor(list(ids[1:]), device=device)
    logprobs = logits_TV[:-1].log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    return logits_TV[-1], logprobs.cpu()


@torch.inference_mode()
def score(
    model: Transformer, cache: Cache, logits: Tensor, continuations: Sequence[Sequence[int]]
) -> list[float]:
    """The log-probability of each continuation of what the cache holds, all in one pass.

    `logits` [V] are those behind the cache. Every token of a continuation is predicted exactly
    once, the first from `logits`. Raises ValueError for an empty continuation.
    """
    if not all(continuations):
        raise ValueError("an empty continuation has no score")
    ids: list[int] = []
    parents: list[int] = []
    for continuation in continuations:
        for depth, token in enumerate(continuation):
            parents.append(len(ids) - 1 if depth else ROOT)
            ids.append(token)
    before = Tree(model, cache).grow(ids, parents).log_softmax(-1)
    first = logits.log_softmax(-1)
    totals, node = [], 0
    for continuation in continuations:
        total = float(first[continuation[0]])
        for depth in range(1, len(continuation)):
            total += float(before[node + depth - 1, continuation[depth]])
        totals.append(total)
        node += len(continuation)
    return totals
