"""Linear maps by torch's product of 4-bit weights, the fastest that it has for few rows on a CPU.

Weights of a 4-bit file have at most 16 values among each 32 neighbours, q * step + offset. They are found
again in what was made of the file and multiplied as such: nothing is rounded to 4 bits. Others are rounded
to 8 bits with a step for each 32 neighbours and multiplied as two layers of 4 bits, 16 * high + low, of the
row beside itself. N outputs, K inputs, L layers (1 or 2), C groups of neighbours in all layers, R rows.
"""

from collections.abc import Callable, Mapping
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

LONGEST = 2048
"""Inputs up to which two layers of 4 bits are faster than torch's product of 8-bit weights: by a third up to
900, level at 1,500, a seventh slower at 4,900 (docs/log.md)."""

PART = 4096
"""Outputs that are packed at once, a multiple of the blocks that torch packs by."""

FIRST_ROWS = 16
"""Rows that are looked at first: most weights that are not of 4 bits are told by them."""


class WeightInt4(nn.Module):
    """A linear map [K] -> [N] for up to `max_rows` rows by `packed`, in more rows by `weight`; on a CPU only.

    `packed` (uint8 [N, L * K / 2]) is what `packed_weight` makes, in an order that is torch's own and differs
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
    """Rows [R, K] (bf16) by packed weights: [R, N] (bf16), summed in fp32."""
    if packed.shape[1] == rows_RK.shape[1]:
        rows_RK = rows_RK.repeat(1, 2)
    return torch._weight_int4pack_mm_for_cpu(rows_RK, packed, GROUP, groups_CN2)


def packed_weight(weight_NK: Tensor) -> tuple[Tensor, Tensor] | None:
    """`packed` and `groups` of a weight, as this machine's kernel wants them; None where 8 bits are better.

    Those are left that have odd sizes, or more than LONGEST inputs and more than 4 bits. Steps of 4 bits are
    found from each group's extremes, then as the line of least squares (on the 4-bit values) and rounded to
    bf16; the offset makes good what that moved the mean by.
    """
    n_out, n_in = weight_NK.shape
    if n_in % GROUP or n_out % OUTPUTS:
        return None
    if _fitted(weight_NK[:FIRST_ROWS]) is None or (pair := _packed(weight_NK, _fitted)) is None:
        pair = _packed(weight_NK, _in_two_layers) if n_in <= LONGEST else None
    return pair if pair is not None and _is_right(pair, weight_NK) else None


def _packed(
    weight_NK: Tensor, numbers: Callable[[Tensor], tuple[Tensor, Tensor] | None]
) -> tuple[Tensor, Tensor] | None:
    """The weight as `numbers` has it, PART outputs at a time: copies in fp32 stay few."""
    packed, groups = [], []
    for part_PK in torch.split(weight_NK, PART):
        if (found := numbers(part_PK)) is None:
            return None
        values_PK = found[0].reshape(len(part_PK), -1).to(torch.int32)
        packed.append(torch._convert_weight_to_int4pack_for_cpu(values_PK, 1))
        groups.append(found[1].transpose(0, 1))
    return torch.cat(packed), torch.cat(groups, 1).contiguous()


def _is_right(pair: tuple[Tensor, Tensor], weight_NK: Tensor) -> bool:
    """Whether a row's product is nearly that of the weight: how torch packs is not written down anywhere."""
    row_1K = torch.randn(1, weight_NK.shape[1], generator=torch.Generator().manual_seed(0)).bfloat16()
    expected_1N = linear(row_1K.to(weight_NK.dtype), weight_NK).float()
    return bool((product(row_1K, *pair) - expected_1N).norm() <= 0.05 * expected_1N.norm())


def _in_two_layers(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers 0 ... 15 [N, C, GROUP] and steps and offsets [N, C, 2] (bf16): high layers, then low.

    A weight is q * step, q from -127 to 127; q + 128 is 16 * high + low, and what the middles of both are off
    by is the high layer's offset. The row is divided by the step as bf16 has it.
    """
    x_NCG = weight_NK.float().view(len(weight_NK), -1, GROUP)
    step_NC1 = (x_NCG.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30).bfloat16().float()
    q_NCG = (x_NCG / step_NC1).round_().clamp_(-127, 127).add_(128)
    high_NCG = (q_NCG / 16).floor_()
    steps_NC = step_NC1[..., 0]
    of_high = torch.stack((16 * steps_NC, MIDDLE * steps_NC), -1)
    of_low = torch.stack((steps_NC, torch.zeros_like(steps_NC)), -1)
    values = torch.cat((high_NCG, q_NCG - 16 * high_NCG), 1)
    return values, torch.cat((of_high, of_low), 1).bfloat16()


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
    """Give the maps of `model` that are in `weights` 4-bit copies for passes of up to `max_rows`.

    A tied head becomes a module of its own beside the embedding.
    `weights` are NAME.packed and NAME.groups, as `packed_weight` makes them. Raises ValueError for those of
    another model.
    """
    for name, layer in [*model.named_modules()]:
        if isinstance(layer, nn.Linear) and f"{name}.packed" in weights:
            parent, _, own_name = name.rpartition(".")
            made = _given(weights, name, layer.weight, layer.bias, max_rows)
            setattr(model.get_submodule(parent), own_name, made)
    if model.head is None and "embedding.packed" in weights:
        head = _given(weights, "embedding", model.embedding.weight, None, max_rows)
        setattr(model, "head", head)  # noqa: B010 - of another class than it was made with


def _given(
    weights: Mapping[str, Tensor], name: str, weight_NK: Tensor, bias: Tensor | None, max_rows: int
) -> WeightInt4:
    packed, groups = weights[f"{name}.packed"], weights[f"{name}.groups"]
    n_out, n_in = weight_NK.shape
    n_groups = len(groups)
    n_layers = n_groups * GROUP / n_in
    if n_layers not in (1, 2) or groups.shape != (n_groups, n_out, 2):
        raise ValueError(f"the 4-bit weights of {name} have another shape")
    if packed.shape != (n_out, n_groups * GROUP // 2):
        raise ValueError(f"the 4-bit weights of {name} have another shape")
    return WeightInt4(packed, groups, weight_NK, bias, max_rows)
