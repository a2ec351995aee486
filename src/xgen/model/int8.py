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


class Int8Linear(nn.Linear):
    """A linear map [K] -> [N]: up to `max_rows` rows through 8-bit weights, more through `weight` itself.

    Each output channel has its scale: W[n] is about int8[n] * scale[n]. Activations are not quantised
    but pass as bf16, the only type that torch's kernel is fast with. K must be a multiple of `STEP`.
    """

    weight_int8_NK: Tensor
    scale_N: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, max_rows: int) -> None:
        n_out, n_in = weight.shape
        if n_in % STEP:
            raise ValueError(f"{n_in} inputs are not a multiple of {STEP}")
        super().__init__(n_in, n_out, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)  # the same memory
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)
        self.max_rows = max_rows
        int8_NK, scale_N = quantised(weight.detach())
        self.register_buffer("weight_int8_NK", int8_NK, persistent=False)
        self.register_buffer("scale_N", scale_N, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N] in the dtype of `x`."""
        if x.numel() > self.max_rows * self.in_features:
            return linear(x, self.weight, self.bias)
        rows_RK = x.reshape(-1, self.in_features).bfloat16()
        out_RN = torch._weight_int8pack_mm(rows_RK, self.weight_int8_NK, self.scale_N).to(x.dtype)
        if self.bias is not None:
            out_RN = out_RN + self.bias
        return out_RN.view(*x.shape[:-1], -1)


def quantised(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [N, K] -> int8 [N, K] and scales [N] (bf16), so that int8 * scale is near the weight.

    The weights are divided by the scale as bf16 has it, so its rounding costs nothing.
    """
    largest_N1 = weight_NK.abs().amax(1, keepdim=True).float()
    scale_N1 = (largest_N1 / 127).clamp(min=1e-30).bfloat16()
    int8_NK = (weight_NK.float() / scale_N1.float()).round().clamp(-127, 127).to(torch.int8)
    return int8_NK, scale_N1[:, 0]


def add_int8(model: Transformer, max_rows: int) -> None:
    """Give the linear maps of `model`, and its vocabulary's matrix, 8-bit weights for few rows.

    For inference on a CPU, once the weights are loaded; they stay as and where they are, the copy takes
    a byte for each. Up to `max_rows` tokens pass through the copy (0: nothing is done, see
    engine/machine.py). Maps of odd widths are left alone. A tied head becomes a module of its own
    over the embedding's weight, so the model's state dict has one name more.
    """
    if not max_rows:
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and child.in_features % STEP == 0:
                setattr(module, name, Int8Linear(child.weight, child.bias, max_rows))
    if model.head is None and model.shape.d_model % STEP == 0:
        model.head = Int8Linear(model.embedding.weight, None, max_rows)
