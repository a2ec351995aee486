"""Linear maps, and embeddings, that read half the bytes: their weights in 8 bits.

Rows of numbers become int8 with a scale each, W[n] about int8[n] * scale[n]: of a weight the rows are
its output channels, of an embedding the tokens, and keys and values are kept the same way. Activations
are not quantised.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from xgen.model.transformer import Transformer

STEP = 32
"""Inputs must come in whole steps: torch's kernel reads on to the next one and does not check."""

ALIGNMENT = 16
"""Bytes that weights must begin at a multiple of: elsewhere the kernel ends the process."""

FEW_ROWS = 16
"""Rows that torch's kernel multiplies faster than their weights are brought back to 16 bits (both CPUs of
docs/results.md)."""

LIKELIEST = 64
"""Logits of a token that are computed once more, in fp32, where torch's product has rounded them to bf16: by
that alone three or four of a hundred first choices of a small model are others (docs/results.md)."""

ROOM = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Weights that are brought back to 16 bits at once: few beside a model, enough for fast products."""


class WeightInt8(nn.Module):
    """A linear map [K] -> [N] by 8-bit weights: `int8_NK` row by row without gaps, `scale_N` in fp32.

    On a CPU up to `max_rows` rows pass through torch's packed product, as bf16, the only type that it is
    fast with; K must then be a multiple of `STEP`. More rows are multiplied in their own type: by `weight`
    [N, K] where that is kept beside the 8 bits, else by parts of them brought to it for the moment (on a
    GPU any rows). Nothing of that form stays in memory. The `n_exact` largest outputs of few rows are
    computed once more in fp32.
    """

    int8_NK: Tensor
    scale_N: Tensor
    scale_bf16_N: Tensor
    """For torch's kernel, which takes nothing else; `quantised` has made the scales exact in bf16."""

    def __init__(
        self,
        int8_NK: Tensor,
        scale_N: Tensor,
        bias: Tensor | None = None,
        max_rows: int = FEW_ROWS,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.n_exact = 0
        self.out_features, self.in_features = int8_NK.shape
        self.weight, self.bias = weight, bias
        self.max_rows = max_rows if self.in_features % STEP == 0 and int8_NK.device.type == "cpu" else 0
        self.register_buffer("int8_NK", aligned(int8_NK.contiguous()), persistent=False)
        self.register_buffer("scale_N", scale_N.float(), persistent=False)
        self.register_buffer("scale_bf16_N", scale_N.bfloat16(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N] in the dtype of `x`, or in fp32 of few rows if some are exact."""
        if x.numel() <= self.max_rows * self.in_features:
            return self._few(x)
        if self.weight is not None:
            return linear(x, self.weight, self.bias)
        size = max(1, ROOM[x.device.type] // self.in_features)
        parts = [self._part(x, slice(n, n + size)) for n in range(0, self.out_features, size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def _part(self, x: Tensor, here: slice) -> Tensor:
        """Some outputs of any number of rows.

        On a CPU the 8 bits are multiplied as they are, since with their scales bf16 would round them once
        more. On a GPU, and for fp16, the scales go into the weights, where fp16 does not overflow.
        """
        bias = None if self.bias is None else self.bias[here]
        if x.is_cuda or x.dtype == torch.float16:
            return linear(x, dequantised(self.int8_NK[here], self.scale_N[here], x.dtype), bias)
        out = linear(x, self.int8_NK[here].to(x.dtype)).mul_(self.scale_N[here])
        return out if bias is None else out.add_(bias)

    def dense(self) -> Tensor:
        """What the weights stand for, fp32 [N, K]."""
        return dequantised(self.int8_NK, self.scale_N, torch.float32)

    def _few(self, x: Tensor) -> Tensor:
        rows_RK = x.reshape(-1, self.in_features)
        out_RN = torch._weight_int8pack_mm(rows_RK.bfloat16(), self.int8_NK, self.scale_bf16_N)
        out_RN = out_RN.to(torch.float32 if self.n_exact else x.dtype)
        if self.n_exact:
            largest_RE = out_RN.topk(min(self.n_exact, self.out_features), sorted=False).indices
            exact_RE = (self.int8_NK[largest_RE].float() @ rows_RK.float()[..., None])[..., 0]
            out_RN.scatter_(1, largest_RE, exact_RE * self.scale_N[largest_RE])
        if self.bias is not None:
            out_RN = out_RN + self.bias
        return out_RN.view(*x.shape[:-1], self.out_features)


class Int8Rows(NamedTuple):
    """Rows in 8 bits: int8 [..., D] and their scales [...] (fp32)."""

    int8: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        """[..., D]."""
        return self.int8.shape

    def dense(self, dtype: torch.dtype) -> Tensor:
        """What they stand for, [..., D]."""
        return dequantised(self.int8, self.scale, dtype)


class EmbeddingInt8(nn.Module):
    """Rows of 8-bit weights by their ids, as `dtype`; a tied head is a WeightInt8 of the same memory."""

    int8_VM: Tensor
    scale_V: Tensor

    def __init__(self, int8_VM: Tensor, scale_V: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("int8_VM", int8_VM, persistent=False)
        self.register_buffer("scale_V", scale_V.float(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [...] (int64) -> [..., M]."""
        return dequantised(self.int8_VM[ids], self.scale_V[ids], self.dtype)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy of it where it does not begin at a multiple of ALIGNMENT."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def quantised(rows: Tensor, scale_dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor]:
    """Rows [..., K] -> int8 [..., K] and scales [...], so that int8 * scale is near the row.

    The rows are divided by the scale as `scale_dtype` has it, so its rounding costs nothing.
    """
    scale = scale_of(rows, scale_dtype)
    int8 = (rows / scale[..., None].float()).round_().clamp_(-127, 127).to(torch.int8)
    return int8, scale


def scale_of(rows: Tensor, scale_dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Scales [...] by which the largest of each row [..., K] becomes 127."""
    return (rows.abs().amax(-1).float() / 127).clamp(min=1e-30).to(scale_dtype)


def quantised_weight(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """A weight [N, K] -> int8 [N, K] and scales [N] (bf16), some rows at a time: copies in fp32 stay few."""
    parts = torch.split(weight_NK, max(1, ROOM["cpu"] // weight_NK.shape[1]))
    int8, scales = zip(*(quantised(part) for part in parts), strict=True)
    return torch.cat(int8), torch.cat(scales)


def dequantised(int8: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 [..., K] and scales [...] (fp32) -> rows [..., K], multiplied in fp32 and rounded once."""
    return torch.mul(int8, scale[..., None], out=int8.new_empty(int8.shape, dtype=dtype))


def add_int8(
    model: "Transformer", weights: Mapping[str, Tensor], max_rows: int = FEW_ROWS, alone: bool = False
) -> None:
    """Give the linear maps of `model`, and its vocabulary's matrix, 8-bit weights.

    For inference, once what else the model has is loaded. `weights` are NAME.int8 and NAME.scale of every
    linear map and of the embedding, as `quantised` makes them. They serve up to `max_rows` tokens at once
    on a CPU, beside the weights, which stay as and where they are (maps of odd widths are left alone then);
    or, `alone`, all tokens instead of the weights, which need not be loaded (they may be on "meta"). A
    tied head becomes a module of its own over the embedding's memory. On a CPU the stream between layers
    and the logits (the LIKELIEST, of few rows) are fp32 then: it costs little, and in bf16 they lose as much
    as the 8 bits do. Raises KeyError or ValueError for weights of another model.
    """
    for name, layer in [*model.named_modules()]:
        if isinstance(layer, nn.Linear) and (alone or layer.in_features % STEP == 0):
            parent, _, own_name = name.rpartition(".")
            pair = _pair(weights, name, layer.weight)
            made = WeightInt8(*pair, layer.bias, max_rows, None if alone else layer.weight)
            made.n_exact = LIKELIEST if alone and name == "head" else 0
            setattr(model.get_submodule(parent), own_name, made)
    table_VM = model.embedding.weight
    pair = _pair(weights, "embedding", table_VM)
    if model.head is None and (alone or table_VM.shape[1] % STEP == 0):
        head = WeightInt8(*pair, None, max_rows, None if alone else table_VM)
        head.n_exact = LIKELIEST if alone else 0
        pair = head.int8_NK, head.scale_N
        setattr(model, "head", head)  # noqa: B010 - of another class than it was made with
    if alone:
        stream = torch.float32 if model.device.type == "cpu" else model.dtype
        setattr(model, "embedding", EmbeddingInt8(*pair, stream))  # noqa: B010
        model.norm.to(stream)


def _pair(weights: Mapping[str, Tensor], name: str, weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    int8_NK, scale_N = weights[f"{name}.int8"], weights[f"{name}.scale"]
    if int8_NK.shape != weight_NK.shape or scale_N.shape != weight_NK.shape[:1]:
        raise ValueError(f"the 8-bit weights of {name} have another shape")
    return int8_NK, scale_N
