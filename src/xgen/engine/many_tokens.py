"""Many tokens through the model on a GPU: torch's products and attention, and kernels of our own between.

What `Transformer.forward` does with a cache, with less moved: rotation and the cache's filling are one pass,
so is the gate, and products are added to the stream where they are made. Of the last layer only what the
cache and the last token need is computed.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from xgen.engine.cache import Cache
from xgen.engine.free import no_room
from xgen.engine.kernels.compiled import CannotCompile, Kernels, OnDevice
from xgen.engine.one_token import defines_of, layers_of, serves, tuning_for, turns_of
from xgen.model.int8 import Int8Rows, WeightInt8
from xgen.model.keys_values import Keys
from xgen.model.transformer import Layer, RMSNorm, Transformer
from xgen.show import note

MOST_ROWS = 8192
"""Tokens that pass at once: attention of a text over itself alone is the fastest there is."""

LEAST_ROWS = 1024
"""As many as are taken where the memory is short."""

FFN_ROWS = 4096
"""Tokens whose gates are held at once: those take the most memory, and more rows are no faster."""

ROW_THREADS = 256
"""As in rows.cu."""


class ManyTokens:
    """Reads ids into caches of one form, by `kernels` of rows.cu."""

    def __init__(self, model: Transformer, kernels: Kernels) -> None:
        self._shape, self._dtype, self._kernels = model.shape, model.dtype, kernels
        norms = [norm for layer in layers_of(model) for norm in (layer.attention_norm, layer.ffn_norm)]
        self._gains = {norm: norm.weight.detach().float() for norm in norms}
        self._turns = turns_of(model.shape, model.shape.max_seq_len, model.device)

    @torch.inference_mode()
    def read(
        self, model: Transformer, cache: Cache, ids: Sequence[int], advance: Callable[[int], None]
    ) -> Tensor:
        """Read `ids` behind what `cache` holds; logits [V] (fp32) of what follows the last one.

        `advance(n)` is called when n more tokens have been handed to the GPU. Raises XgenError where even a
        pass of LEAST_ROWS finds no memory.
        """
        if len(self._turns) < cache.capacity:
            self._turns = turns_of(self._shape, cache.capacity, model.device)
        rows, begin = MOST_ROWS, 0
        while begin < len(ids):
            ids_T = torch.tensor(ids[begin : begin + rows], device=model.device)
            try:
                x_1M = self._pass(model, cache, ids_T)
            except torch.OutOfMemoryError as error:
                if len(ids_T) <= LEAST_ROWS:
                    raise no_room(len(ids_T), model.device) from error
                rows = max(LEAST_ROWS, len(ids_T) // 2)
                continue  # what was stored is stored again
            cache.length += len(ids_T)
            begin += len(ids_T)
            advance(len(ids_T))
        return model.logits(model.norm(x_1M))[0]

    def _pass(self, model: Transformer, cache: Cache, ids_T: Tensor) -> Tensor:
        """The stream of the last token behind all layers, [1, M]."""
        x_TM = model.embedding(ids_T).to(self._dtype)  # on a CPU, in tests, it may be wider
        *layers, last = layers_of(model)
        for index, layer in enumerate(layers):
            self._layer(model, layer, x_TM, cache, index)
        return self._last_layer(model, last, x_TM, cache)

    def _layer(self, model: Transformer, layer: Layer, x_TM: Tensor, cache: Cache, index: int) -> None:
        """Adds a layer to the stream."""
        h_TM = self._normed(x_TM, layer.attention_norm)
        q_TN = self._product(layer.q, h_TM)
        keys_values = self._keys_values(layer, h_TM, q_TN, cache, index)
        del h_TM
        self._product(layer.o, self._attend(model, q_TN, *keys_values), x_TM)
        del q_TN, keys_values
        self._feed_forward(layer, x_TM)

    def _last_layer(self, model: Transformer, layer: Layer, x_TM: Tensor, cache: Cache) -> Tensor:
        """The last token's stream [1, M] behind the last layer, which nothing else needs."""
        h_TM = self._normed(x_TM, layer.attention_norm)
        keys_values = self._keys_values(layer, h_TM, None, cache, len(model.layers) - 1)
        x_1M, q_1N = x_TM[-1:], self._product(layer.q, h_TM[-1:])
        self._place(q_1N, None, None, cache, 0, cache.length + len(x_TM) - 1)
        self._product(layer.o, self._attend(model, q_1N, *keys_values), x_1M)
        self._feed_forward(layer, x_1M)
        return x_1M

    def _keys_values(
        self, layer: Layer, h_TM: Tensor, q_TN: Tensor | None, cache: Cache, index: int
    ) -> tuple[Keys, Keys]:
        """Stores those of these tokens, rotates `q_TN`; keys and values of all so far, [1, G, S, D]."""
        k_TN, v_TN = self._product(layer.k, h_TM), self._product(layer.v, h_TM)
        self._place(q_TN, k_TN, v_TN, cache, index, cache.length)
        size = (1, len(h_TM), self._shape.n_kv_heads, self._shape.head_dim)
        k_BGSD, v_BGSD = k_TN.view(size).transpose(1, 2), v_TN.view(size).transpose(1, 2)
        if cache.length == 0:
            return k_BGSD, v_BGSD
        return _filled(cache.buffers[index], cache.length + len(h_TM))

    def _attend(self, model: Transformer, q_TN: Tensor, k_BGSD: Keys, v_BGSD: Keys) -> Tensor:
        q_BHTD = q_TN.view(1, len(q_TN), -1, self._shape.head_dim).transpose(1, 2)
        out_BHTD = model.attend(q_BHTD, k_BGSD, v_BGSD, None)
        return out_BHTD.transpose(1, 2).reshape(q_TN.shape)

    def _feed_forward(self, layer: Layer, x_TM: Tensor) -> None:
        """Adds it to the stream, some rows at a time."""
        gate, up, down = (self._weight(one) for one in (layer.gate, layer.up, layer.down))
        for rows_TM in torch.split(x_TM, FFN_ROWS):
            h_TM = self._normed(rows_TM, layer.ffn_norm)
            gate_TF, up_TF = linear(h_TM, gate), linear(h_TM, up)
            n_blocks = -(-gate_TF.numel() // (8 * ROW_THREADS))
            self._launch("gated", n_blocks, gate_TF, up_TF, ctypes.c_longlong(gate_TF.numel()))
            rows_TM.addmm_(gate_TF, down.t())

    def _product(
        self, one: nn.Linear | WeightInt8, given_TK: Tensor, stream_TM: Tensor | None = None
    ) -> Tensor:
        """The map of `given_TK`; added to `stream_TM` where that is given."""
        weight_NK = self._weight(one)
        if stream_TM is not None:
            return stream_TM.addmm_(given_TK, weight_NK.t())
        return linear(given_TK, weight_NK, one.bias)

    def _weight(self, one: nn.Linear | WeightInt8) -> Tensor:
        """A map's weight in 16 bits; one of 8 bits is brought back for the moment."""
        if isinstance(one, nn.Linear):
            return one.weight
        int8_NK = one.int8_NK
        weight_NK = torch.empty(int8_NK.shape, dtype=self._dtype, device=int8_NK.device)
        self._launch("dense_rows", len(int8_NK), int8_NK, one.scale_N, weight_NK, int8_NK.shape[1])
        return weight_NK

    def _normed(self, x_TM: Tensor, norm: RMSNorm) -> Tensor:
        out_TM = torch.empty_like(x_TM)
        self._launch("norm_rows", len(x_TM), x_TM, self._gains[norm], out_TM, x_TM.shape[1], norm.eps)
        return out_TM

    def _place(
        self,
        q_TN: Tensor | None,
        k_TN: Tensor | None,
        v_TN: Tensor | None,
        cache: Cache,
        index: int,
        start: int,
    ) -> None:
        """Rotates queries and keys by their positions, `start` on, in place; stores keys and values."""
        keys, values, *scales = cache.buffers[index]
        n_q = 0 if q_TN is None else self._shape.n_heads
        n_kv = 0 if k_TN is None else self._shape.n_kv_heads
        given = next(x for x in (q_TN, k_TN) if x is not None)
        stored = keys, values, *(scales or (None, None))
        sizes = start, n_q, n_kv, cache.capacity
        self._launch("place", len(given), q_TN, k_TN, v_TN, self._turns, *stored, *sizes)

    def _launch(self, name: str, n_blocks: int, *arguments: Any) -> None:
        self._kernels.launch(name, (n_blocks, 1), ROW_THREADS, 0, *arguments)


def _filled(buffers: tuple[Tensor, ...], end: int) -> tuple[Keys, Keys]:
    """Keys and values of the first `end` tokens."""
    keys, values, *scales = (of_all[:, :, :end] for of_all in buffers)
    if scales:
        return Int8Rows(keys, scales[0]), Int8Rows(values, scales[1])
    return keys, values


_readers: weakref.WeakKeyDictionary[Transformer, dict[torch.dtype, ManyTokens | None]] = (
    weakref.WeakKeyDictionary()
)
"""Of a model, by the type of the cache's numbers."""


def reader_for(model: Transformer, cache: Cache) -> ManyTokens | None:
    """What reads many tokens into this cache; None where there is no GPU, or none that serves this model."""
    if model.device.type != "cuda" or not serves(model, cache):
        return None
    of_model = _readers.setdefault(model, {})
    kind = cache.buffers[0][0].dtype
    if kind not in of_model:
        try:
            defines = defines_of(model, cache, tuning_for(model, 0))
            of_model[kind] = ManyTokens(model, OnDevice("rows", defines, model.device))
        except CannotCompile as error:
            of_model[kind] = None
            note(f"a text is read by torch alone, which is slower: {error}")
    return of_model[kind]
