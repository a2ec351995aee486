"""How likely the model finds given texts: log-probabilities in nats."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xgen.engine.cache import Cache, Rows, empty_buffers
from xgen.engine.tree import ROOT, Tree
from xgen.model.transformer import Transformer


@torch.inference_mode()
def prefill_scored(model: Transformer, cache: Cache, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Read `ids` behind the cache in one pass.

    Returns the logits [V] behind the last one, and the log-probabilities [len(ids) - 1] (fp32,
    on the CPU) of every id but the first, each given all before it.
    """
    device = model.device
    hidden_TM = model(torch.tensor([list(ids)], device=device), cache=cache.buffers, start=cache.length)[0]
    cache.length += len(ids)
    return model.logits(hidden_TM[-1]), _logprobs(model, hidden_TM, ids)


@torch.inference_mode()
def read_rows(
    model: Transformer,
    texts: Sequence[Sequence[int]],
    n_scored: Sequence[int],
    spare: int,
    dtype: torch.dtype | None = None,
    behind: Cache | None = None,
) -> tuple[Rows, Tensor, list[Tensor]]:
    """Read several texts side by side in one pass, with `spare` slots behind them.

    Their keys and values are kept in `dtype` (cache.py). With `behind`, which is kept in it too, each is read
    behind what that cache holds, of which every row has a copy. Returns the rows, the logits [rows, V] behind
    each text, and for each the log-probabilities (fp32, on the CPU) of its last `n_scored[b]` ids but the
    first of these.
    """
    device, start = model.device, 0 if behind is None else behind.length
    lengths = [len(text) for text in texts]
    width = max(lengths)
    padded = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    buffers = empty_buffers(model, len(texts), start + width + spare, dtype)
    for of_rows, of_one in zip(buffers, [] if behind is None else behind.buffers, strict=behind is not None):
        for many, one in zip(of_rows, of_one, strict=True):
            many[:, :, :start] = one[:, :, :start]
    rows = Rows(buffers, [start + length for length in lengths], start + width)
    hidden_BTM = model(padded, cache=rows.buffers, start=start)
    last = torch.tensor(lengths, device=device) - 1
    logits_BV = model.logits(hidden_BTM[torch.arange(len(texts), device=device), last])
    logprobs = [
        _logprobs(model, hidden_BTM[b, length - n : length], text[length - n :])
        for b, (text, length, n) in enumerate(zip(texts, lengths, n_scored, strict=True))
    ]
    return rows, logits_BV, logprobs


def _logprobs(model: Transformer, hidden_TM: Tensor, ids: Sequence[int]) -> Tensor:
    targets = torch.tensor(list(ids[1:]), device=hidden_TM.device)
    logprobs_TV = model.logits(hidden_TM[:-1]).log_softmax(-1)
    return logprobs_TV.gather(-1, targets[:, None])[:, 0].cpu()


@torch.inference_mode()
def score(
    model: Transformer, rows: Rows, logits_BV: Tensor, continuations: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The log-probability of each continuation behind each row's text, [rows][continuations].

    `logits_BV` are those behind the texts. Every token of a continuation is predicted exactly once,
    the first from `logits_BV`. Raises ValueError for an empty continuation.
    """
    if not all(continuations):
        raise ValueError("an empty continuation has no score")
    ids: list[int] = []
    parents: list[int] = []
    firsts: list[int] = []
    for continuation in continuations:
        firsts.append(len(ids))
        for depth, token in enumerate(continuation):
            parents.append(len(ids) - 1 if depth else ROOT)
            ids.append(token)
    n_rows = len(rows.lengths)
    after_BNV = Tree(model, rows).grow([ids] * n_rows, [parents] * n_rows).log_softmax(-1)
    before_BV = logits_BV.log_softmax(-1)
    totals = []
    for first, continuation in zip(firsts, continuations, strict=True):
        total_B = before_BV[:, continuation[0]]
        for depth in range(1, len(continuation)):
            total_B = total_B + after_BNV[:, first + depth - 1, continuation[depth]]
        totals.append(total_B.tolist())
    return [list(row) for row in zip(*totals, strict=True)]
