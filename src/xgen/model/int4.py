"""Linear maps whose weights were stored in 4 bits, multiplied as such: few rows read a quarter of the bytes.

Nothing is rounded to 4 bits here. A weight of a 4-bit file has at most 16 values among each 32 neighbours,
evenly apart (q * step + least); they are found again in what was made of it, and a weight that has others is
left alone. N outputs, K inputs, C groups of neighbours, R rows.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from xgen.model.transformer import Transformer

GROUP = 32
"""Neighbours with a step and an offset of their own, as in GGUF's 4-bit types."""

OUTPUTS = 16
"""Outputs must come in whole multiples of so many: torch's kernel says so."""

MIDDLE = 8
"""The value of 4 bits that stands for the offset, in torch's kernel."""

FEWEST_STEPS = 8
"""A group's extremes are taken to be so many steps apart at least, and at most 15."""

TOLERANCE = 0.004
"""How far the weights may be from 4-bit ones, as a share of their size: half of what 8 bits a row leave. bf16
leaves 0.0017, steps and offsets in bf16 0.001 more."""

GROUP_TOLERANCE = 0.01
"""The same for each group by itself; 5-bit weights are 0.08 off."""

FIRST_ROWS = 16
"""Rows that are looked at first: most weights that are not of 4 bits are told by them."""


class WeightInt4(nn.Module):
    """A linear map [K] -> [N] for up to `max_rows` rows by `packed`, in more rows by `weight`; on a CPU only.

    `packed` (uint8 [N, K / 2]) is what `packed_weight` makes, in an order that is torch's own and differs
    among CPUs; `groups` (bf16 [C, N, 2]) are steps and offsets. Few rows are multiplied as bf16, the only
    type that torch's kernel is fast with.
    """

    packed: Tensor
    groups: Tensor

    def __init__(
        self, packed: Tensor, groups: Tensor, weight: Tensor, bias: Tensor | None, max_rows: int
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, self.bias, self.max_rows = weight, bias, max_rows
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("groups", groups, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N] in the dtype of `x`."""
        if x.numel() > self.max_rows * self.in_features:
            return linear(x, self.weight, self.bias)
        out_RN = product(x.reshape(-1, self.in_features).bfloat16(), self.packed, self.groups).to(x.dtype)
        if self.bias is not None:
            out_RN = out_RN + self.bias
        return out_RN.view(*x.shape[:-1], self.out_features)


def product(rows_RK: Tensor, packed: Tensor, groups_CN2: Tensor) -> Tensor:
    """Rows [R, K] (bf16) by packed 4-bit weights: [R, N] (bf16), summed in fp32."""
    return torch._weight_int4pack_mm_for_cpu(rows_RK, packed, GROUP, groups_CN2)


def packed_weight(weight_NK: Tensor) -> tuple[Tensor, Tensor] | None:
    """`packed` and `groups` of a weight that is of 4 bits, as this machine's kernel wants them; else None.

    Steps are found from each group's extremes, then as the line of least squares (on the 4-bit values) and
    rounded to bf16; the offset makes good what that moved the mean by.
    """
    n_out, n_in = weight_NK.shape
    if n_in % GROUP or n_out % OUTPUTS or _fitted(weight_NK[:FIRST_ROWS]) is None:
        return None
    if (fitted := _fitted(weight_NK)) is None:
        return None
    values_NCG, groups_NC2 = fitted
    values_NK = values_NCG.view(n_out, n_in).to(torch.int32)
    packed: Tensor = torch._convert_weight_to_int4pack_for_cpu(values_NK, 1)
    return packed, groups_NC2.transpose(0, 1).contiguous()


def _fitted(weight_NK: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whole numbers 0 ... 15 [N, C, GROUP] (fp32) and steps and offsets [N, C, 2] (bf16), or None."""
    x_PG = weight_NK.float().view(-1, GROUP)
    sizes_P = x_PG.square().sum(-1)
    best = _on_a_line(x_PG, 15)
    for n_steps in range(14, FEWEST_STEPS - 1, -1):
        far_F = (best[2] > TOLERANCE**2 * sizes_P).nonzero()[:, 0]
        tried = _on_a_line(x_PG[far_F], n_steps)
        is_better_F = tried[2] < best[2][far_F]
        for old, new in zip(best, tried, strict=True):
            old[far_F[is_better_F]] = new[is_better_F]
    values_PG, groups_P2, errors_P = best
    if (errors_P > GROUP_TOLERANCE**2 * sizes_P).any() or errors_P.sum() > TOLERANCE**2 * sizes_P.sum():
        return None
    size = len(weight_NK), -1
    return values_PG.view(*size, GROUP), groups_P2.bfloat16().view(*size, 2)


def _on_a_line(x_PG: Tensor, n_steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers [P, G] of which x is nearly a line, its step and offset [P, 2], the squared error [P]."""
    least_P1, most_P1 = x_PG.amin(-1, keepdim=True), x_PG.amax(-1, keepdim=True)
    values_PG = ((x_PG - least_P1) * (n_steps / (most_P1 - least_P1).clamp(min=1e-30))).round_()
    values_PG += (15 - n_steps) // 2  # in the middle, where offsets are small
    mean_P1, centred_PG = x_PG.mean(-1, keepdim=True), values_PG - values_PG.mean(-1, keepdim=True)
    spread_P1 = centred_PG.square().sum(-1, keepdim=True).clamp(min=1e-9)
    step_P1 = ((x_PG * centred_PG).sum(-1, keepdim=True) / spread_P1).bfloat16().float()
    offset_P1 = mean_P1 - step_P1 * (values_PG.mean(-1, keepdim=True) - MIDDLE)
    offset_P1 = offset_P1.bfloat16().float()
    errors_P = (step_P1 * (values_PG - MIDDLE) + offset_P1 - x_PG).square().sum(-1)
    return values_PG, torch.cat((step_P1, offset_P1), -1), errors_P


def add_int4(model: "Transformer", weights: Mapping[str, Tensor], max_rows: int) -> None:
    """Give the linear maps of `model` that are in `weights` 4-bit copies for passes of up to `max_rows`.

    `weights` are NAME.packed and NAME.groups, as `packed_weight` makes them. Raises ValueError for those of
    another model.
    """
    for name, layer in [*model.named_modules()]:
        if isinstance(layer, nn.Linear) and f"{name}.packed" in weights:
            packed, groups = weights[f"{name}.packed"], weights[f"{name}.groups"]
            n_out, n_in = layer.weight.shape
            if packed.shape != (n_out, n_in // 2) or groups.shape != (n_in // GROUP, n_out, 2):
                raise ValueError(f"the 4-bit weights of {name} have another shape")
            parent, _, own_name = name.rpartition(".")
            made = WeightInt4(packed, groups, layer.weight, layer.bias, max_rows)
            setattr(model.get_submodule(parent), own_name, made)
