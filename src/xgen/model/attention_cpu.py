"""Causal attention with grouped queries on a CPU, by plain matrix products; axes as in attention.py.

R rows of a block of queries (each query's heads of one key head), C keys of a block, X heads of a key head.
"""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from xgen.model.int8 import Int8Rows
from xgen.model.keys_values import Keys

FEW = 64
"""Rows that share their keys, under which `attend_cpu` computes in fp32 and all at once."""

ROOM = 1 << 20
"""Numbers of a cache that are brought to fp32 at once for them."""

ROWS = 448
"""Rows a block has about: its products are then as fast as large ones, and little is computed for nothing."""

KEYS = 2048
"""Keys a block has about: its scores stay in the caches of a CPU until they are used."""

FAR = 40.0
"""Scores, in nats, that the mean key may give; beyond, it is taken from all keys. Of two models' heads only
those of large biases reach it (docs/results.md), and there bf16 scores are ten times more exact for it."""

LEAST, MOST = 2.0**-90, 2.0**112
"""Sums of exponentials that are taken as they are: what is under 2^-126, and lost, is nothing beside LEAST,
and 2^128, what bf16 and fp32 hold, is far from a sum of values of MOST."""


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
    """Blocks of queries against the keys up to their last one: what lies behind is not computed."""
    n_batch, n_heads, n_queries, head_dim = q_BHTD.shape
    n_kv_heads, n_keys = k_BGSD.shape[1:3]
    n_shared, first = n_heads // n_kv_heads, n_keys - n_queries
    q_BTGXD = q_BHTD.transpose(1, 2).view(n_batch, n_queries, n_kv_heads, n_shared, head_dim)
    out_BTGXD = torch.empty(q_BTGXD.shape, dtype=q_BHTD.dtype)
    size = min(n_queries, max(16, ROWS // n_shared // 16 * 16))
    blocks = _Blocks(q_BHTD, size, n_shared, n_keys)
    for batch, group in product(range(n_batch), range(n_kv_heads)):
        q_TXD = q_BTGXD[batch, :, group]
        k_SD = _near_zero(_of_head(k_BGSD, batch, group), q_TXD, q_BHTD.dtype)
        v_SD = _of_head(v_BGSD, batch, group).to(q_BHTD.dtype)
        for begin in range(0, n_queries, size):
            here = slice(begin, min(begin + size, n_queries))
            n_seen = n_keys if mask is not None else first + here.stop
            seen_TS = None if mask is None else mask[here] if mask.ndim == 2 else mask[batch, here]
            out_BTGXD[batch, here, group] = blocks.attend(q_TXD[here], k_SD[:n_seen], v_SD[:n_seen], seen_TS)
    return out_BTGXD.flatten(2, 3).transpose(1, 2)


def _of_head(x_BGSD: Keys, batch: int, group: int) -> Tensor:
    """The keys or values of one head, [S, D], in the type they are kept in, 8 bits in fp32."""
    if isinstance(x_BGSD, Int8Rows):
        return Int8Rows(x_BGSD.int8[batch, group], x_BGSD.scale[batch, group]).dense(torch.float32)
    return x_BGSD[batch, group]


def _near_zero(k_SD: Tensor, q_TXD: Tensor, dtype: torch.dtype) -> Tensor:
    """Keys in `dtype`, without their mean if it gives large scores: a row of scores moves as one by it."""
    mean_D = k_SD.mean(0, dtype=torch.float32)
    far = torch.mv(q_TXD.float().flatten(0, 1), mean_D).abs().amax() * k_SD.shape[1] ** -0.5
    return k_SD.to(dtype) if far < FAR else (k_SD - mean_D).to(dtype)


class _Blocks:
    """Attention of blocks of at most `size` queries, all of them in the same memory.

    A pass over scores costs as much as a product, and fresh memory more.
    """

    def __init__(self, like: Tensor, size: int, n_shared: int, n_keys: int) -> None:
        n_rows, n_parts, head_dim = size * n_shared, n_keys // KEYS + 1, like.shape[-1]
        self._rows_TXD = like.new_empty(size, n_shared, head_dim)
        self._room = like.new_empty(n_rows * (KEYS + size))
        self._parts_BRD, self._sums_BR = (
            like.new_empty(n_parts, n_rows, head_dim),
            like.new_empty(n_parts, n_rows),
        )
        self._causal_TT = like.new_ones(size, size).tril()
        self._holds_exponentials = like.dtype != torch.float16

    def attend(self, q_TXD: Tensor, k_SD: Tensor, v_SD: Tensor, seen_TS: Tensor | None) -> Tensor:
        """[T, X, D] of queries that see what `seen_TS` says, by default up to the last T keys."""
        rows_TXD = torch.mul(q_TXD, q_TXD.shape[-1] ** -0.5, out=self._rows_TXD[: len(q_TXD)])
        out_RD = None
        if seen_TS is None and self._holds_exponentials:
            out_RD = self._by_exponentials(rows_TXD, k_SD, v_SD)
        if out_RD is None:
            out_RD = self._by_softmax(rows_TXD, k_SD, v_SD, seen_TS)
        return out_RD.view(q_TXD.shape)

    def _by_exponentials(self, rows_TXD: Tensor, k_SD: Tensor, v_SD: Tensor) -> Tensor | None:
        """exp(scores) @ values / their sum, block by block of keys; None where that is too large or small.

        A softmax takes the largest score from all others first, which is three more passes and most often
        of no use, as sums tell afterwards. The last block of keys is the one with the diagonal.
        """
        rows_RD = rows_TXD.view(-1, rows_TXD.shape[-1])
        n_rows, n_queries, n_seen = len(rows_RD), len(rows_TXD), len(k_SD)
        diagonal = n_seen - n_queries
        parts_BRD, sums_BR = self._parts_BRD[:, :n_rows], self._sums_BR[:, :n_rows]
        n_parts = diagonal // KEYS + 1
        for part, begin in enumerate(range(0, diagonal + 1, KEYS)):
            end = begin + KEYS if begin + KEYS <= diagonal else n_seen
            weights_RC = self._room[: n_rows * (end - begin)].view(n_rows, -1)
            torch.mm(rows_RD, k_SD[begin:end].t(), out=weights_RC)
            torch.exp(weights_RC, out=weights_RC)
            if end == n_seen:
                on_TXT = weights_RC.view(n_queries, -1, end - begin)[..., diagonal - begin :]
                on_TXT.mul_(self._causal_TT[:n_queries, None, :n_queries])
            torch.sum(weights_RC, -1, out=sums_BR[part])
            torch.mm(weights_RC, v_SD[begin:end], out=parts_BRD[part])
        sum_R = sums_BR[:n_parts].sum(0, dtype=torch.float32)
        least, most = sum_R.aminmax()
        if not (least > LEAST and most < MOST):
            return None
        return parts_BRD[:n_parts].sum(0, dtype=torch.float32).div_(sum_R[:, None])

    def _by_softmax(self, rows_TXD: Tensor, k_SD: Tensor, v_SD: Tensor, seen_TS: Tensor | None) -> Tensor:
        """softmax(scores) @ values, for any scores and who sees whom."""
        rows_RD = rows_TXD.view(-1, rows_TXD.shape[-1])
        n_rows, n_queries, n_seen = len(rows_RD), len(rows_TXD), len(k_SD)
        if len(self._room) < n_rows * n_seen:
            self._room = rows_RD.new_empty(self._rows_TXD[..., 0].numel() * n_seen)
        scores_RS = self._room[: n_rows * n_seen].view(n_rows, n_seen)
        torch.mm(rows_RD, k_SD.t(), out=scores_RS)
        scores_TXS = scores_RS.view(n_queries, -1, n_seen)
        if seen_TS is None:
            unseen_TT = self._causal_TT[:n_queries, None, :n_queries] == 0
            scores_TXS[..., n_seen - n_queries :].masked_fill_(unseen_TT, float("-inf"))
        else:
            scores_TXS.masked_fill_(~seen_TS[:, None], float("-inf"))
        torch.softmax(scores_RS, -1, out=scores_RS)
        return torch.mm(scores_RS, v_SD, out=self._parts_BRD[0, :n_rows])
