"""Rounding to 8 bits that makes up for itself, after GPTQ (Frantar et al. 2022).

A matrix is rounded column by column, and what a column loses is added to those that are yet to come, as far
as their inputs go together. Which do is measured on a text that passes through the model layer by layer.
The form stays what `quantised` makes: int8 with one scale for a row, the row's largest weight over 127.
A row that errs more by this, on texts kept aside, than rounded to the nearest is rounded to the nearest.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from xgen.model.attention import Attend
from xgen.model.int8 import quantised, scale_of
from xgen.model.shape import Shape
from xgen.model.transformer import Layer, RMSNorm, rotary

DAMPING = 0.01
"""Added to the squares of all inputs, in shares of their mean: as in the paper, section 4."""

BLOCK = 64
"""Columns whose losses reach the ones behind them at once."""

ASIDE = 4
"""Of so many texts one is kept aside, to see whether making up for losses helps on what it has not seen."""

ROWS = 1 << 14
"""Rows that are compared at once."""

Rounded = tuple[Tensor, Tensor]
"""int8 [N, K] and scales [N] (bf16)."""

_INPUTS = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))
"""The maps of a layer that read the same input stand together."""


def compensated(weight_NK: Tensor, products_KK: Tensor) -> Rounded:
    """Round rows so that products with inputs x change little, where `products_KK` is the mean of x x^T.

    Columns of large inputs come first. A matrix that 8 bits hold exactly stays what it is. Of inputs that
    tell nothing (no finite or no positive products) it is plain rounding to the nearest.
    """
    weight_KN = weight_NK.t().float().contiguous()
    scale_N = scale_of(weight_NK)
    step_N = scale_N.float()
    order_K = products_KK.diagonal().argsort(descending=True)
    factor_KK = _factor(products_KK[order_K][:, order_K])
    weight_KN = weight_KN[order_K]
    int8_KN = torch.empty(weight_KN.shape, dtype=torch.int8, device=weight_NK.device)
    for begin in range(0, len(weight_KN), BLOCK):
        end = min(begin + BLOCK, len(weight_KN))
        lost_BN = torch.empty_like(weight_KN[begin:end])
        for column in range(begin, end):
            rounded_N = (weight_KN[column] / step_N).round_().clamp_(-127, 127)
            int8_KN[column] = rounded_N
            lost_N = lost_BN[column - begin]
            torch.addcmul(weight_KN[column], rounded_N, step_N, value=-1, out=lost_N)
            lost_N /= factor_KK[column, column]
            weight_KN[column + 1 : end].addr_(factor_KK[column, column + 1 : end], lost_N, alpha=-1)
        weight_KN[end:].addmm_(factor_KK[begin:end, end:].t(), lost_BN, alpha=-1)
    return int8_KN[order_K.argsort()].t().contiguous(), scale_N


def better(weight_NK: Tensor, products_KK: Tensor, aside_KK: Tensor) -> Rounded:
    """Each row as `compensated` for `products_KK` or to the nearest, whichever errs less by `aside_KK`.

    The inputs of `aside_KK` are of other texts: where few directions hold most of the others, a row can
    move far along all that these do not show, and a model can break of it.
    """
    int8_NK, scale_N = compensated(weight_NK, products_KK)
    rows = zip(*(torch.split(t, ROWS) for t in (weight_NK, int8_NK, scale_N)), strict=True)
    for weight, int8, scale in rows:  # views, some rows at a time: the vocabulary's are many
        nearest, _ = quantised(weight)
        lost = [of * scale.float()[:, None] - weight.float() for of in (int8, nearest)]
        gained, plain = (((each @ aside_KK) * each).sum(1, keepdim=True) for each in lost)
        int8.copy_(torch.where(gained < plain, int8, nearest))
    return int8_NK, scale_N


def _factor(products_KK: Tensor) -> Tensor:
    """The upper Cholesky factor of the damped products' inverse; the identity where there is none."""
    damped_KK = products_KK.float().clone()
    damped_KK.diagonal().add_(DAMPING * damped_KK.diagonal().mean())
    lower_KK, failed = torch.linalg.cholesky_ex(damped_KK)
    if not failed:
        factor_KK: Tensor
        factor_KK, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower_KK), upper=True)
        if not failed and factor_KK.isfinite().all():
            return factor_KK
    return torch.eye(len(products_KK), device=products_KK.device)


@torch.no_grad()
def compensated_model(
    shape: Shape, attend: Attend, tensor_of: Callable[[str], Tensor], ids_BT: Tensor
) -> Iterator[tuple[str, Rounded]]:
    """Every matrix of a model by its parameter's name, rounded for the inputs that texts `ids_BT` give it.

    `tensor_of` gives the parameters by name; of the model one layer is in memory at a time, in fp32. The
    texts pass through the exact weights. A tied vocabulary's matrix is rounded for its use as the head, an
    untied embedding, which is only looked up, to the nearest.
    """
    table_VM = tensor_of("embedding.weight")
    x_BTM = table_VM[ids_BT].float()
    rotation = rotary(shape, torch.arange(ids_BT.shape[1], device=ids_BT.device), torch.float32)
    for index in range(shape.n_layers):
        with torch.device("meta"):
            layer = Layer(shape)
        names = [name for name, _ in layer.named_parameters()]
        layer.load_state_dict({n: tensor_of(f"layers.{index}.{n}").float() for n in names}, assign=True)
        products: dict[str, tuple[Tensor, Tensor]] = {}
        for first, *_ in _INPUTS:
            layer.get_submodule(first).register_forward_pre_hook(_measure(products, first))
        x_BTM = layer(x_BTM, rotation, attend, None, 0, None)
        for maps in _INPUTS:
            weights: list[Tensor] = [layer.get_parameter(f"{name}.weight") for name in maps]
            int8_NK, scale_N = better(torch.cat(weights), *products.pop(maps[0]))
            sizes = [len(weight) for weight in weights]
            parts = zip(maps, torch.split(int8_NK, sizes), torch.split(scale_N, sizes), strict=True)
            for name, *rounded in parts:
                yield f"layers.{index}.{name}.weight", (rounded[0], rounded[1])
    norm = RMSNorm(shape.d_model, shape.norm_eps).to(x_BTM.device)
    norm.weight.copy_(tensor_of("norm.weight"))
    head = "embedding.weight" if shape.tied_head else "head.weight"
    yield head, better(tensor_of(head).float(), *_products(norm(x_BTM)))
    if not shape.tied_head:
        yield "embedding.weight", quantised(table_VM)


def _measure(
    products: dict[str, tuple[Tensor, Tensor]], name: str
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def measure(_: nn.Module, given: tuple[Any, ...]) -> None:
        products[name] = _products(given[0])

    return measure


def _products(x_BTK: Tensor) -> tuple[Tensor, Tensor]:
    """The means of x x^T, [K, K], over the tokens of most texts and over those of texts kept aside.

    Where there are fewer than ASIDE, both are of all.
    """
    aside = torch.arange(len(x_BTK), device=x_BTK.device) % ASIDE == ASIDE - 1
    parts = (x_BTK[~aside], x_BTK[aside]) if aside.any() else (x_BTK, x_BTK)
    rows = [part.flatten(0, -2) for part in parts]
    return rows[0].t() @ rows[0] / len(rows[0]), rows[1].t() @ rows[1] / len(rows[1])
