"""Causal attention with grouped queries on a CPU, by plain matrix products; axes as in attention.py.

R rows of a block of queries (each query's heads of one key head), X heads of a key head.
"""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from xgen.model.int8 import Int8Rows
from xgen.model.keys_values import Keys, dense

FEW = 64
"""Rows that share their keys, under which `attend_cpu` computes in fp32 and all at once."""

ROOM = 1 << 20
"""Numbers of a cache that are brought to fp32 at once for them."""

ROWS = 448
"""Rows a block has about: scores of one block stay in the caches of a CPU."""

FAR = 40.0
"""Scores, in nats, that the mean key may give; beyond, it is taken from all keys. Of two models' heads only
those of large biases reach it (docs/results.md), and there bf16 scores are ten times more exact for it."""

EACH = 8
"""Of so many keys, or queries, one is looked at for that."""


def attend_cpu(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention by plain matrix products, of all the heads that share their keys at once; no gradients.

    Many rows go block by block in the queries' dtype; a few (one token, some beams) all at once in fp32:
    products of few rows are slow in bf16. A cache in fewer bits is brought to these types in parts.
    """
    n_rows = q_BHTD.shape[2] * q_BHTD.shape[1] // k_BGSD.shape[1]
    return (_at_once if n_rows < FEW else _in_blocks)(q_BHTD, k_BGSD, v_BGSD, mask)


def _at_once(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Every query against all keys, in batched products (N: batch x key heads)."""
    n_batch, _, n_queries, head_dim = q_BHTD.shape
    n_keys = k_BGSD.shape[2]
    q_NRD = (q_BHTD.float() * head_dim**-0.5).reshape(n_batch * k_BGSD.shape[1], -1, head_dim)
    parts = [torch.bmm(q_NRD, k_NPD.transpose(1, 2)) for _, k_NPD in _parts(k_BGSD)]
    scores_NRS = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    if isinstance(k_BGSD, Int8Rows):
        scores_NRS *= k_BGSD.scale.flatten(0, 1)[:, None]
    if mask is None and n_queries > 1:
        mask = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
    if mask is not None:
        scores_BHTS = scores_NRS.view(n_batch, -1, n_queries, n_keys)
        scores_BHTS.masked_fill_(~mask[..., None, :, :], float("-inf"))
    weights_NRS = scores_NRS.softmax(-1)
    if isinstance(v_BGSD, Int8Rows):
        weights_NRS *= v_BGSD.scale.flatten(0, 1)[:, None]
    sums = [torch.bmm(weights_NRS[..., here], v_NPD) for here, v_NPD in _parts(v_BGSD)]
    out_NRD = sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)
    return out_NRD.view(q_BHTD.shape).to(q_BHTD.dtype)


def _parts(x_BGSD: Keys) -> Iterator[tuple[slice, Tensor]]:
    """Keys or values in fp32, some at a time in the same memory, without the scales of 8 bits.

    What is in fp32 already comes at once, as it is. N: batch x heads, P: the keys of the slice.
    """
    rows_BGSD = x_BGSD.int8 if isinstance(x_BGSD, Int8Rows) else x_BGSD
    rows_NSD = rows_BGSD.flatten(0, 1)
    n_rows, n_keys, head_dim = rows_NSD.shape
    if rows_NSD.dtype == torch.float32:
        yield slice(0, n_keys), rows_NSD
        return
    size = max(1, min(n_keys, ROOM // (n_rows * head_dim)))
    room_NPD = torch.empty(n_rows, size, head_dim)
    for begin in range(0, n_keys, size):
        part_NPD = rows_NSD[:, begin : begin + size]
        yield slice(begin, begin + size), room_NPD[:, : part_NPD.shape[1]].copy_(part_NPD)


def _in_blocks(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Blocks of queries against the keys up to their last one: what lies behind is not computed.

    A pass over the scores costs as much as a product, and fresh memory more. So all blocks write into
    the same memory, the scale is in the queries, the diagonal alone is masked, and the softmax
    overwrites the scores.
    """
    n_batch, n_heads, n_queries, head_dim = q_BHTD.shape
    n_kv_heads, n_keys = k_BGSD.shape[1:3]
    n_shared, first = n_heads // n_kv_heads, n_keys - n_queries
    k_BGSD, v_BGSD = _near_zero(k_BGSD, q_BHTD), dense(v_BGSD, q_BHTD.dtype)
    q_BTGXD = q_BHTD.transpose(1, 2).view(n_batch, n_queries, n_kv_heads, n_shared, head_dim)
    out_BTGXD = torch.empty(q_BTGXD.shape, dtype=q_BHTD.dtype)
    size = min(n_queries, max(16, ROWS // n_shared // 16 * 16))
    room_TXD = q_BHTD.new_empty(size, n_shared, head_dim)
    room = q_BHTD.new_empty(size * n_shared * n_keys)
    hidden = torch.ones(size, size, dtype=torch.bool).triu(1) if mask is None else ~mask
    for batch, group in product(range(n_batch), range(n_kv_heads)):
        q_TXD, k_SD, v_SD = q_BTGXD[batch, :, group], k_BGSD[batch, group], v_BGSD[batch, group]
        for begin in range(0, n_queries, size):
            n_rows = min(size, n_queries - begin)
            n_seen = n_keys if mask is not None else first + begin + n_rows
            here = slice(begin, begin + n_rows)
            rows_TXD = torch.mul(q_TXD[here], head_dim**-0.5, out=room_TXD[:n_rows])
            scores_RS = room[: n_rows * n_shared * n_seen].view(-1, n_seen)
            torch.mm(rows_TXD.view(-1, head_dim), k_SD[:n_seen].t(), out=scores_RS)
            scores_TXS = scores_RS.view(n_rows, n_shared, n_seen)
            if mask is None:
                diagonal_TXT = scores_TXS[..., n_seen - n_rows :]
                diagonal_TXT.masked_fill_(hidden[:n_rows, None, :n_rows], float("-inf"))
            else:
                rows_hidden = hidden[here] if mask.ndim == 2 else hidden[batch, here]
                scores_TXS.masked_fill_(rows_hidden[:, None], float("-inf"))
            torch.softmax(scores_RS, -1, out=scores_RS)
            torch.mm(scores_RS, v_SD[:n_seen], out=rows_TXD.view(-1, head_dim))
            out_BTGXD[batch, here, group] = rows_TXD
    return out_BTGXD.flatten(2, 3).transpose(1, 2)


def _near_zero(k_BGSD: Keys, q_BHTD: Tensor) -> Tensor:
    """Keys in the queries' type, without a mean one where that gives large scores: it moves a row as one."""
    k_BGSD = dense(k_BGSD, q_BHTD.dtype) if isinstance(k_BGSD, Int8Rows) else k_BGSD
    n_batch, n_kv_heads, _, head_dim = k_BGSD.shape
    mean_BG1D = k_BGSD[:, :, ::EACH].mean(2, keepdim=True, dtype=torch.float32)
    q_BGND = q_BHTD[:, :, ::EACH].float().reshape(n_batch, n_kv_heads, -1, head_dim)
    scores_BGN = (q_BGND * mean_BG1D).sum(-1) * head_dim**-0.5
    is_far_BG11 = (scores_BGN.abs().amax(-1) > FAR)[..., None, None]
    if is_far_BG11.any():
        k_BGSD = k_BGSD - torch.where(is_far_BG11, mean_BG1D, 0)
    return k_BGSD.to(q_BHTD.dtype)
