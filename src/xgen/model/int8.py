"""Linear maps that read half the bytes where few rows pass: a second copy of their weights in 8 bits.

A product of one row takes as long as its weights take to be read. Many rows multiply faster in the
weights' own type, so that is kept.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from xgen.model.transformer import Transformer

STEP = 32
"""Inputs must come in whole steps: torch's kernel reads on to the next one and does not check."""

ALIGNMENT = 16
"""Bytes that weights must begin at a multiple of: elsewhere the kernel ends the process."""


class Int8Linear(nn.Linear):
    """A linear map [K] -> [N]: up to `max_rows` rows through 8-bit weights, more through `weight` itself.

    Each output channel has its scale: W[n] is about int8[n] * scale[n]. Activations are not quantised
    but pass as bf16, the only type that torch's kernel is fast with. K must be a multiple of `STEP`.
    """

    weight_int8_NK: Tensor
    scale_N: Tensor

    def __init__(self, layer: nn.Linear, int8_NK: Tensor, scale_N: Tensor, max_rows: int) -> None:
        if layer.in_features % STEP:
            raise ValueError(f"{layer.in_features} inputs are not a multiple of {STEP}")
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias  # the same memory
        self.max_rows = max_rows
        self.register_buffer("weight_int8_NK", aligned(int8_NK), persistent=False)
        self.register_buffer("scale_N", aligned(scale_N), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N] in the dtype of `x`."""
        if x.numel() > self.max_rows * self.in_features:
            return linear(x, self.weight, self.bias)
        rows_RK = x.reshape(-1, self.in_features).bfloat16()
        out_RN = torch._weight_int8pack_mm(rows_RK, self.weight_int8_NK, self.scale_N).to(x.dtype)
        if self.bias is not None:
            out_RN = out_RN + self.bias
        return out_RN.view(*x.shape[:-1], -1)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor itself, or a copy of it where it does not begin at a multiple of ALIGNMENT."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def quantised(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [N, K] -> int8 [N, K] and scales [N] (bf16), so that int8 * scale is near the weight.

    The weights are divided by the scale as bf16 has it, so its rounding costs nothing.
    """
    largest_N1 = weight_NK.abs().amax(1, keepdim=True).float()
    scale_N1 = (largest_N1 / 127).clamp(min=1e-30).bfloat16()
    int8_NK = (weight_NK.float() / scale_N1.float()).round().clamp(-127, 127).to(torch.int8)
    return int8_NK, scale_N1[:, 0]


def int8_weights(model: Transformer) -> dict[str, Tensor]:
    """The 8-bit copies that `add_int8` takes: NAME.int8 and NAME.scale of every linear map and the head."""
    found = {}
    for name, layer in _layers(model).items():
        found[f"{name}.int8"], found[f"{name}.scale"] = quantised(layer.weight.detach())
    return found


def add_int8(model: Transformer, max_rows: int, weights: dict[str, Tensor]) -> None:
    """Give the linear maps of `model`, and its vocabulary's matrix, 8-bit weights for few rows.

    For inference on a CPU, once the weights are loaded; they stay as and where they are. `weights` are
    `int8_weights(model)`, up to `max_rows` tokens pass through them (see engine/machine.py). Maps of odd
    widths are left alone. A tied head becomes a module of its own over the embedding's weight, so the
    model's state dict has one name more. Raises KeyError or ValueError for weights of another model.
    """
    for name, layer in _layers(model).items():
        int8_NK, scale_N = weights[f"{name}.int8"], weights[f"{name}.scale"]
        if int8_NK.shape != layer.weight.shape or scale_N.shape != layer.weight.shape[:1]:
            raise ValueError(f"the 8-bit weights of {name} have another shape")
        parent, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(parent), own_name, Int8Linear(layer, int8_NK, scale_N, max_rows))


def _layers(model: Transformer) -> dict[str, nn.Linear]:
    """The maps that can have 8-bit weights; a tied head among them, as a map of its own."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if model.head is None:
        n_out, n_in = model.embedding.weight.shape
        layers["head"] = nn.Linear(n_in, n_out, bias=False, device="meta")
        layers["head"].weight = model.embedding.weight
    return {name: layer for name, layer in layers.items() if layer.in_features % STEP == 0}
