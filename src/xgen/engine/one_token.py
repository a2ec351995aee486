"""One token through the model by kernels of our own: what `Transformer.forward` does, launch by launch.

Weights are read once and nothing else is in the way: a layer is five launches, the stream between them
stays in fp32, and token and position lie on the device, so that the launches are the same for each token
and a GPU can be handed all of them at once (graphs.py).
"""

import ctypes
import weakref
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from xgen.engine.cache import Cache
from xgen.engine.free import NAMES
from xgen.engine.kernels.compiled import Defines, Kernels
from xgen.model.int8 import EmbeddingInt8, WeightInt8
from xgen.model.shape import Shape
from xgen.model.transformer import Layer, Transformer, rotary
from xgen.show import note

ATTEND_THREADS, CHOOSE_THREADS, EMBED_THREADS = 256, 1024, 1024
MOST_SPLITS = 32
"""As in step.cu."""


ATTEND_BLOCKS = 1
"""Of a multiprocessor, about."""


@dataclass(frozen=True)
class Tuning:
    """How the kernels are cut.

    Of products.cu the threads of a block, the steps that a warp has under way, and the blocks of a
    multiprocessor (as much of it is left to the kernel that comes next); of attention the keys at a time,
    and the stages of so many.
    """

    threads: int
    loads: int
    blocks: int
    keys: int = 8
    stages: int = 2


TUNINGS = (
    (220_000, Tuning(256, 20, 1), Tuning(512, 4, 1)),
    (96_000, Tuning(256, 4, 1, 2), Tuning(256, 4, 1, 2)),
    (0, Tuning(256, 2, 1, 2), Tuning(256, 2, 1, 2)),
)
"""By the bytes of shared memory that a block may have, for 16-bit and for int8 weights: the first are the
fastest of those tried on an H100 (docs/results.md), the others what fits from Ampere and from Turing on."""


class Map(ctypes.Structure):
    """`Map` of products.cu: weights, their scales or null, the bias or null."""

    _fields_ = [("weight", ctypes.c_void_p), ("scale", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


def unserved(model: Transformer, cache: Cache) -> str | None:
    """Why the kernels cannot take this model and cache; None where they can."""
    shape, maps, kept = model.shape, maps_of(model), cache.buffers[0][0].dtype
    is_int8 = [hasattr(one, "int8_NK") for one in maps]
    plain = [type(one) is nn.Linear and one.weight.dtype == model.dtype for one in maps]
    if model.dtype not in (torch.bfloat16, torch.float16):
        return f"they compute in bf16 or fp16, not in {_short(model.dtype)}"
    if not (all(is_int8) or all(plain)):
        return "its weights are neither all of 16 nor all of 8 bits"
    if shape.d_model % 16 or shape.d_ff % 16:
        return f"its widths of {shape.d_model} and {shape.d_ff} are no multiples of 16"
    if shape.head_dim not in (16, 32, 64, 128, 256):
        return f"its heads are {shape.head_dim} wide"
    if kept not in (model.dtype, torch.int8):
        return f"keys and values are in {_short(kept)} beside {_short(model.dtype)}"
    return None


_told: weakref.WeakSet[Transformer] = weakref.WeakSet()
"""Models of which it was said why the kernels do not serve them."""


def serves(model: Transformer, cache: Cache) -> bool:
    """Whether the kernels can take this model and cache; why not is said once."""
    why = unserved(model, cache)
    if why is not None and model not in _told:
        _told.add(model)
        note(f"the GPU is used by torch alone, which is slower than kernels of our own: {why}")
    return why is None


def _short(dtype: torch.dtype) -> str:
    return NAMES.get(dtype, str(dtype))


def layers_of(model: Transformer) -> list[Layer]:
    """The layers of a model."""
    return cast(list[Layer], list(model.layers))


def maps_of(model: Transformer) -> list[nn.Module]:
    """All linear maps of a model."""
    names = ("q", "k", "v", "o", "gate", "up", "down")
    maps = [getattr(layer, name) for layer in layers_of(model) for name in names]
    return maps if model.head is None else [*maps, model.head]


def tuning_for(model: Transformer, shared_bytes: int) -> Tuning:
    """How to cut the kernels for a model where a block may have so many bytes of shared memory."""
    of_16_bits, of_int8 = next(pair for least, *pair in TUNINGS if shared_bytes >= least)
    return of_int8 if hasattr(layers_of(model)[0].q, "int8_NK") else of_16_bits


def defines_of(model: Transformer, cache: Cache, tuning: Tuning) -> Defines:
    """The macros that the kernels of this model and cache are compiled with."""
    shape, is_int8 = model.shape, hasattr(layers_of(model)[0].q, "int8_NK")
    int8_cache = cache.buffers[0][0].dtype == torch.int8
    n_shared, most = shape.n_heads // shape.n_kv_heads, 2 if int8_cache else 4
    found: dict[str, int | None] = {
        "THREADS": tuning.threads,
        "LOADS": tuning.loads,
        "MOST_INPUTS": max(shape.d_model, shape.d_ff, shape.n_heads * shape.head_dim),
        "RESIDENT": 2 * tuning.blocks,
        "SHARED": (served := -(-n_shared // -(-n_shared // most))),
        "KEYS": max(1, tuning.keys // served),  # registers hold a score for each key and head
        "STAGES": tuning.stages,
        "HEAD_DIM": shape.head_dim,
    }
    flags = {
        "FP16": model.dtype == torch.float16,
        "INT8": is_int8,
        "INT8_CACHE": int8_cache,
    }
    return found | {name: None for name, is_set in flags.items() if is_set}


def turns_of(shape: Shape, capacity: int, device: torch.device) -> Tensor:
    """Cosines and sines of each position, fp32 [capacity, head_dim]: a half each."""
    cos, sin = rotary(shape, torch.arange(capacity, device=device), torch.float32)
    half = shape.head_dim // 2
    return torch.cat((cos[0, :, :half], sin[0, :, :half]), dim=-1).contiguous()


class OneToken:
    """The launches of one token over the buffers of a cache, in `launches`, and what they read and write.

    `state` (int32 [2]) is the token and its position: it is read, its keys and values are stored there, and
    `logits` (fp32 [V]) follow it. Then the likeliest id of those that are not `hidden` (uint8 [V]) is the
    token, also noted in `said` [capacity + 1] at its position, which is the next one.
    """

    def __init__(
        self,
        model: Transformer,
        cache: Cache,
        kernels: tuple[Kernels, Kernels],
        defines: Defines,
        n_multiprocessors: int,
    ) -> None:
        shape, device = model.shape, model.device
        self._shape, self._defines, self._kept = shape, defines, list[Tensor]()
        self._blocks = n_multiprocessors * (defines["RESIDENT"] or 2) // 2
        self._products, self._step = kernels
        n_q, n_kv = shape.n_heads, shape.n_kv_heads
        self.state = torch.zeros(2, dtype=torch.int32, device=device)
        self.said = torch.zeros(cache.capacity + 1, dtype=torch.int32, device=device)
        self.hidden = torch.zeros(shape.vocab_size, dtype=torch.uint8, device=device)
        self.logits = torch.zeros(-(-shape.vocab_size // 4) * 4, device=device)[: shape.vocab_size]
        self._stream, self._inner = (torch.zeros(n, device=device) for n in (shape.d_model, shape.d_ff))
        self._qkv = torch.zeros((n_q + 2 * n_kv) * shape.head_dim, device=device)
        self._attended = torch.zeros(n_q * shape.head_dim, device=device)
        self._turns = turns_of(shape, cache.capacity, device)
        n_rows = n_kv * -(-(n_q // n_kv) // (defines["SHARED"] or 1))
        self._attend_grid = n_rows, max(1, min(MOST_SPLITS, ATTEND_BLOCKS * n_multiprocessors // n_rows))
        self._parts = torch.zeros(n_q * self._attend_grid[1], shape.head_dim + 2, device=device)
        self._arrived = torch.zeros(n_rows, dtype=torch.int32, device=device)
        self.launches = [self._embed(model), *self._layers(model, cache), *self._end(model)]

    def run(self) -> None:
        """Start them all."""
        for kernels, *launch in self.launches:
            kernels.launch(*launch)

    def _embed(self, model: Transformer) -> tuple[Any, ...]:
        of: nn.Embedding | EmbeddingInt8 = model.embedding
        table = (of.weight, None) if isinstance(of, nn.Embedding) else (of.int8_VM, self._fp32(of.scale_V))
        given = *table, self.state, self._stream, self._shape.d_model
        return (self._step, "embed", (1, 1), EMBED_THREADS, 0, *given)

    def _layers(self, model: Transformer, cache: Cache) -> list[tuple[Any, ...]]:
        shape, eps, position = self._shape, self._shape.norm_eps, self.state[1:]
        n_q, n_kv, width = shape.n_heads, shape.n_kv_heads, shape.d_model
        of_thread = 2 * (self._defines["KEYS"] or 1) * (self._defines["STAGES"] or 1)
        ring_bytes = of_thread * ATTEND_THREADS * 16
        if "INT8_CACHE" in self._defines:  # and the scales
            ring_bytes += of_thread * ATTEND_THREADS * 16 // shape.head_dim * 4
        attend = self._attend_grid, ATTEND_THREADS, ring_bytes
        launches = []
        for layer, buffers in zip(layers_of(model), cache.buffers, strict=True):
            q, k, v, o = (self._map(one) for one in (layer.q, layer.k, layer.v, layer.o))
            gate, up, down = (self._map(one) for one in (layer.gate, layer.up, layer.down))
            gain, ffn_gain = self._fp32(layer.attention_norm.weight), self._fp32(layer.ffn_norm.weight)
            keys, values, *scales = buffers
            filled = keys, values, *(scales or (None, None))
            n_pairs = (n_q + 2 * n_kv) * shape.head_dim // 2
            turned = self._stream, gain, eps, self._turns, position, self._qkv
            attended = position, self._parts, self._arrived, self._attended
            sizes = n_q, n_kv, cache.capacity
            launches += [
                self._product("qkv", n_pairs, width, q, k, v, *turned, width, n_q, n_kv),
                (self._step, "attend", *attend, self._qkv, *filled, *attended, *sizes),
                self._add(o, self._attended, n_q * shape.head_dim),
                self._product(
                    *("gate_up", shape.d_ff, width, gate, up),
                    *(self._stream, ffn_gain, eps, self._inner, width, shape.d_ff),
                ),
                self._add(down, self._inner, shape.d_ff),
            ]
        return launches

    def _end(self, model: Transformer) -> list[tuple[Any, ...]]:
        n_ids, width, gain = self._shape.vocab_size, self._shape.d_model, self._fp32(model.norm.weight)
        head = Map(model.embedding.weight.data_ptr()) if model.head is None else self._map(model.head)
        last = self._stream, gain, self._shape.norm_eps, self.logits
        choice = self.logits, self.hidden, self.state, self.state[1:], self.said, n_ids
        return [
            self._product("head", -(-n_ids // 2), width, head, *last, width, n_ids),
            (self._step, "choose", (1, 1), CHOOSE_THREADS, 0, *choice),
        ]

    def _add(self, one: Map, given: Tensor, n_in: int) -> tuple[Any, ...]:
        n_out = self._shape.d_model
        return self._product("add", -(-n_out // 2), n_in, one, given, self._stream, n_in, n_out)

    def _product(self, name: str, n_pairs: int, n_in: int, *arguments: Any) -> tuple[Any, ...]:
        threads, loads = self._defines["THREADS"] or 1, self._defines["LOADS"] or 1
        if "INT8" in self._defines:  # as pairs_int8.cu and pairs_16.cu have it
            n_blocks, shared_bytes = -(-n_pairs // 8), threads * loads * 64 + -(-n_in // 128) * 256
        else:
            n_blocks = -(-n_pairs // (threads // 32))
            shared_bytes = threads * loads * 32 + -(-n_in // 256) * 1024
        grid = min(self._blocks, n_blocks), 1
        return (self._products, name, grid, threads, shared_bytes, *arguments)

    def _map(self, one: nn.Linear | WeightInt8) -> Map:
        bias = None if one.bias is None else self._fp32(one.bias).data_ptr()
        if isinstance(one, nn.Linear):
            return Map(one.weight.data_ptr(), None, bias)
        return Map(one.int8_NK.data_ptr(), self._fp32(one.scale_N).data_ptr(), bias)

    def _fp32(self, vector: Tensor) -> Tensor:
        """A vector in fp32 that stays as long as the launches do."""
        self._kept.append(vector.detach().float().contiguous())
        return self._kept[-1]
