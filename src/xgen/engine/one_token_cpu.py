"""One token through a model on a CPU, in few calls: each costs microseconds, and a token has milliseconds.

The same sums as the model's own pass (model/transformer.py), against which it is tested, written for one row:
queries, keys and values are one product and turned together, stream and rotation stay in fp32, heads that
share keys are rows of one query, and what is between the products is written into the same memory each time.
It serves models whose few rows pass through 8 or 4 bits; others are bound by reading their weights.

Names end in their axes: M d_model, G key-value heads, D head_dim, X query heads of one key head, E heads of
queries and keys, N outputs of a product, K its inputs, V vocabulary.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from xgen.engine.cache import LONG, Cache
from xgen.model.attention_cpu import attend_cpu
from xgen.model.int4 import WeightInt4, product
from xgen.model.int8 import WeightInt8
from xgen.model.transformer import Transformer, frequencies

STEP = 256
"""Keys are read in whole multiples of so many: torch prepares a product of another size for a millisecond."""

LARGEST = 64.0
"""Scores, in nats, up to which bf16 tells the best ones of a query from others (within a quarter)."""

Product = Callable[[Tensor], Tensor]
"""One row [1, K] (bf16) to [1, N] (bf16)."""


@dataclass(frozen=True)
class _Layer:
    attention_norm: Tensor
    qkv: Product
    qkv_bias: Tensor | None
    o: Product
    ffn_norm: Tensor
    gate: Product
    up: Product
    down: Product


class OneTokenCpu:
    """One token after another through `model`, over any cache of one row in fp32 or bf16."""

    def __init__(self, model: Transformer) -> None:
        self._model, shape = weakref.proxy(model), model.shape  # `_made` forgets models that nobody has
        self._lock = Lock()
        self._layers = [_layer(layer) for layer in model.layers]
        self._norm = model.norm.weight.float()
        n_heads, n_groups, half = shape.n_heads, shape.n_kv_heads, shape.head_dim // 2
        self._frequencies = frequencies(shape)
        self._qkv_1N = torch.empty(1, (n_heads + 2 * n_groups) * shape.head_dim)
        heads = self._qkv_1N.view(-1, shape.head_dim)
        self._qk_ED, self._v_1GD = heads[: n_heads + n_groups], heads[None, n_heads + n_groups :]
        self._rotated_ED = torch.empty(self._qk_ED.shape)
        self._q_1GXD = self._rotated_ED[:n_heads].view(1, n_groups, -1, shape.head_dim)
        self._k_1GD = self._rotated_ED[None, n_heads:]
        self._halves = self._qk_ED[:, :half], self._qk_ED[:, half:]
        self._rotated_halves = self._rotated_ED[:, :half], self._rotated_ED[:, half:]
        self._seen_1N = torch.empty(1, n_heads * shape.head_dim, dtype=torch.bfloat16)
        self._seen_1GXD = self._seen_1N.view(self._q_1GXD.shape)
        self._scores_GXS = self._seen_1N.new_empty(0, 0, 0)
        self._zeros_M = torch.zeros(shape.d_model)

    @torch.inference_mode()
    def after(self, token: int, cache: Cache) -> Tensor:
        """Read `token` behind what the cache holds; logits [V] (fp32) of what follows. Its length stays.

        Threads that share a model wait for each other, since they share the memory between the products.
        """
        with self._lock:
            return self._after(token, cache)

    def _after(self, token: int, cache: Cache) -> Tensor:
        position, end = cache.length, cache.length + 1
        angles = self._frequencies * position
        cos_D, sin = angles.cos().repeat(2), angles.sin()
        rotated_first, rotated_second = self._rotated_halves
        first, second = self._halves
        x_M = self._model.embedding(torch.tensor(token)).to(torch.float32, copy=True)
        for layer, (keys, values) in zip(self._layers, cache.buffers, strict=True):
            qkv_1N = layer.qkv(self._normed(x_M, layer.attention_norm))
            if layer.qkv_bias is None:
                self._qkv_1N.copy_(qkv_1N)
            else:
                torch.add(qkv_1N, layer.qkv_bias, out=self._qkv_1N)
            torch.mul(self._qk_ED, cos_D, out=self._rotated_ED)
            rotated_first.addcmul_(second, sin, value=-1)
            rotated_second.addcmul_(first, sin)
            keys.select(2, position).copy_(self._k_1GD)
            values.select(2, position).copy_(self._v_1GD)
            self._attend(keys, values, end)
            x_M += layer.o(self._seen_1N)[0]
            h_1M = self._normed(x_M, layer.ffn_norm)
            gated_1N = silu(layer.gate(h_1M), inplace=True).mul_(layer.up(h_1M))
            x_M += layer.down(gated_1N)[0]
        hidden_1M = self._normed(x_M, self._norm, self._model.norm.weight.dtype)
        logits_1V: Tensor = self._model.logits(hidden_1M)
        return logits_1V[0]

    def _attend(self, keys: Tensor, values: Tensor, end: int) -> None:
        """What the query sees of the first `end` keys [1, G, capacity, D], to the product behind it."""
        first_keys, first_values = keys.narrow(2, 0, end), values.narrow(2, 0, end)
        if keys.dtype == torch.float32:
            seen_1GXD = scaled_dot_product_attention(self._q_1GXD, first_keys, first_values)
        elif end >= LONG:
            self._attend_in_bf16(keys[0], values[0], end)
            return
        else:
            q_1HTD = self._q_1GXD.flatten(1, 2)[:, :, None]
            seen_1GXD = attend_cpu(q_1HTD, first_keys, first_values, None).view(self._q_1GXD.shape)
        self._seen_1GXD.copy_(seen_1GXD)

    def _attend_in_bf16(self, k_GSD: Tensor, v_GSD: Tensor, end: int) -> None:
        """The same, by a product for each key head and one for all values.

        Keys behind the text get no weight, so what stands there need only be finite. A head of large scores
        is computed in fp32, and rounded when its best score is 0: what counts is small then.
        """
        n_read = min(-(-end // STEP) * STEP, k_GSD.shape[1])
        if self._scores_GXS.shape[2] != n_read:
            self._scores_GXS = self._seen_1N.new_empty(*self._q_1GXD.shape[1:3], n_read)
        scores_GXS = self._scores_GXS
        q_GXD = self._q_1GXD[0] * k_GSD.shape[2] ** -0.5
        for q_XD, k_SD, scores_XS in zip(q_GXD.bfloat16(), k_GSD, scores_GXS, strict=True):
            torch.mm(q_XD, k_SD[:n_read].t(), out=scores_XS)
        scores_GXS[..., end:] = float("-inf")
        largest = scores_GXS.amax(-1).abs().amax(-1).tolist()
        for group, size in enumerate(largest):
            if not size <= LARGEST:
                wide_XS = q_GXD[group] @ k_GSD[group, :n_read].float().t()
                wide_XS[:, end:] = float("-inf")
                torch.sub(wide_XS, wide_XS.amax(-1, keepdim=True), out=wide_XS)
                scores_GXS[group] = wide_XS
        torch.softmax(scores_GXS, -1, out=scores_GXS)
        torch.bmm(scores_GXS, v_GSD[:, :n_read], out=self._seen_1GXD[0])

    def _normed(self, x_M: Tensor, weight_M: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """As RMSNorm has it, [M] -> [1, M]."""
        mean_square = torch.dot(x_M, x_M).item() / len(x_M)
        scale = (mean_square + self._model.shape.norm_eps) ** -0.5
        return torch.addcmul(self._zeros_M, x_M, weight_M, value=scale).to(dtype)[None]


def _layer(layer: Any) -> _Layer:
    maps = (layer.q, layer.k, layer.v)
    biases = [one.bias for one in maps]
    return _Layer(
        attention_norm=layer.attention_norm.weight.float(),
        qkv=_side_by_side(maps),
        qkv_bias=None if biases[0] is None else torch.cat(biases).float()[None],
        o=_product(layer.o),
        ffn_norm=layer.ffn_norm.weight.float(),
        gate=_product(layer.gate),
        up=_product(layer.up),
        down=_product(layer.down),
    )


def _product(one: WeightInt8 | WeightInt4) -> Product:
    """The map without its bias, by what its class multiplies few rows with."""
    if isinstance(one, WeightInt4):
        packed, groups = one.packed, one.groups
        return lambda row_1K: product(row_1K, packed, groups)
    int8, scale = one.int8_NK, one.scale_bf16_N
    return lambda row_1K: torch._weight_int8pack_mm(row_1K, int8, scale)


@torch.inference_mode()
def _side_by_side(maps: Sequence[WeightInt8 | WeightInt4]) -> Product:
    """Several maps of one row as one product; the maps share its memory.

    Whether 4-bit weights may stand behind one another is known to torch's kernel alone, so it is tried.
    """
    products = [_product(one) for one in maps]

    def apart(row_1K: Tensor) -> Tensor:
        return torch.cat([each(row_1K) for each in products], -1)

    sizes = [one.out_features for one in maps]
    eights = [one for one in maps if isinstance(one, WeightInt8)]
    if len(eights) == len(maps):
        int8_NK = torch.cat([one.int8_NK for one in eights])
        scale_N = torch.cat([one.scale_bf16_N for one in eights])
        for eight, part in zip(eights, torch.split(int8_NK, sizes), strict=True):
            eight.int8_NK = part
        return lambda row_1K: torch._weight_int8pack_mm(row_1K, int8_NK, scale_N)
    fours = [one for one in maps if isinstance(one, WeightInt4)]
    if len({one.packed.shape[1] for one in fours}) == 1 and len(fours) == len(maps):
        packed = torch.cat([one.packed for one in fours])
        groups = torch.cat([one.groups for one in fours], 1)
        row_1K = torch.randn(1, maps[0].in_features, generator=torch.Generator().manual_seed(0)).bfloat16()
        if torch.equal(product(row_1K, packed, groups), apart(row_1K)):
            for four, part in zip(fours, torch.split(packed, sizes), strict=True):
                four.packed = part
            return lambda row_1K: product(row_1K, packed, groups)
    return apart


def serves(model: Transformer) -> bool:
    """Whether this pass is for such a model: on a CPU, all maps of its layers in 8 or 4 bits for few rows."""
    layer: Any
    for layer in model.layers:
        maps = (layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down)
        if not all(type(one) in (WeightInt8, WeightInt4) and one.max_rows for one in maps):
            return False
        if any(one.bias is not None for one in maps[3:]):
            return False
    return model.device.type == "cpu"


_made: weakref.WeakKeyDictionary[Transformer, OneTokenCpu | None] = weakref.WeakKeyDictionary()


def one_token_for(model: Transformer, cache: Cache) -> OneTokenCpu | None:
    """The pass of one token for this model, made at its first; None where it does not serve.

    Nor does it for keys and values in other types than fp32 and bf16, or for several rows of them.
    """
    keys, *others = cache.buffers[0]
    if len(others) != 1 or len(keys) != 1 or keys.dtype not in (torch.float32, torch.bfloat16):
        return None
    if model not in _made:
        _made[model] = OneTokenCpu(model) if serves(model) else None
    return _made[model]
