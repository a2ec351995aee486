"""Low-rank adapters (Hu et al. 2021): beside a frozen weight W a product B A, which alone is trained.

Every linear map of a layer may have one of rank r: y = (W + alpha / r * B A) x. B begins as zero, so a new
adapter changes nothing. For inference the product is added to W once; in training it stays a path of its
own, which spares W its gradient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from xgen.model.transformer import Transformer

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
"""The linear maps of a layer."""


@dataclass(frozen=True)
class Adapter:
    """A low-rank change of a decoder's weights.

    `weights` holds A [rank, K] and B [N, rank] by the name of the weight [N, K] that they change, such as
    "layers.0.q.weight".
    """

    rank: int
    alpha: float
    weights: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def scale(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / self.rank

    @property
    def n_parameters(self) -> int:
        """Number of trained weights."""
        return sum(a.numel() + b.numel() for a, b in self.weights.values())


class LoraLinear(nn.Linear):
    """A linear map [K] -> [N] whose weight and bias are frozen, with a trained path of low rank beside it.

    It holds the same memory as the map it replaces, under the same names. `lora_a` [r, K] and `lora_b`
    [N, r] pass in the dtype of the input, so they may be fp32 masters beside bf16 weights.
    """

    def __init__(self, layer: nn.Linear, a_RK: Tensor, b_NR: Tensor, scale: float) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.requires_grad_(False)
        self.lora_a, self.lora_b = nn.Parameter(a_RK), nn.Parameter(b_NR)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N] in the dtype of `x`."""
        low = linear(x, self.lora_a.to(x.dtype))
        return linear(x, self.weight, self.bias) + self.scale * linear(low, self.lora_b.to(x.dtype))


def new_adapter(model: Transformer, rank: int, alpha: float, seed: int) -> Adapter:
    """An adapter for every linear map of the layers that changes nothing yet, fp32 on the CPU.

    A is uniform within 1 / sqrt(K), as the library peft draws it; B is zero. ValueError if `rank` is not
    above 0.
    """
    if rank < 1:
        raise ValueError(f"the rank is {rank}")
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, layer in _targets(model).items():
        n_out, n_in = layer.weight.shape
        a_RK = torch.empty(rank, n_in).uniform_(-(n_in**-0.5), n_in**-0.5, generator=generator)
        weights[f"{name}.weight"] = a_RK, torch.zeros(n_out, rank)
    return Adapter(rank, alpha, weights)


def attach(model: Transformer, adapter: Adapter) -> None:
    """Freeze the model and put the adapter's paths beside its maps: they alone are trained now.

    They are fp32 copies on the maps' device. ValueError for an adapter of another shape.
    """
    targets = _targets(model)
    for name, (a_RK, b_NR) in adapter.weights.items():
        layer = targets.get(name.removesuffix(".weight"))
        if layer is None or b_NR.shape[0] != layer.out_features or a_RK.shape[1] != layer.in_features:
            raise ValueError(f"the adapter's {name} has no place in the model")
    model.requires_grad_(False)
    for name, pair in adapter.weights.items():
        parent, _, own_name = name.removesuffix(".weight").rpartition(".")
        layer = targets[f"{parent}.{own_name}"]
        a_RK, b_NR = (t.to(layer.weight.device, torch.float32, copy=True) for t in pair)
        setattr(model.get_submodule(parent), own_name, LoraLinear(layer, a_RK, b_NR, adapter.scale))


def merged(weight_NK: Tensor, name: str, adapter: Adapter) -> Tensor:
    """The weight `name` with what the adapter adds to it, in fp32; itself if the adapter leaves it alone."""
    if name not in adapter.weights:
        return weight_NK
    a_RK, b_NR = (t.to(weight_NK.device, torch.float32) for t in adapter.weights[name])
    return torch.addmm(weight_NK.float(), b_NR, a_RK, alpha=adapter.scale)


def mean(adapters: Sequence[Adapter]) -> Adapter:
    """The mean of what adapters of the same weights add, as near as the first one's rank comes to it.

    The weights of models that began at the same ones may be averaged, often to their gain
    (Wortsman et al. 2022). The mean of several changes has the sum of their ranks; its largest singular
    values are kept, by a decomposition of the small factors alone (QR of each, then an SVD of their product).
    Tensors are fp32. ValueError if they do not change the same weights.
    """
    first = adapters[0]
    if any(other.weights.keys() != first.weights.keys() for other in adapters):
        raise ValueError("the adapters do not change the same weights")
    kept = {}
    for name in first.weights:
        pairs = [[t.float() for t in adapter.weights[name]] for adapter in adapters]
        a_SK = torch.cat([a for a, _ in pairs])
        shares = [adapter.scale / len(adapters) / first.scale for adapter in adapters]
        b_NS = torch.cat([share * b for share, (_, b) in zip(shares, pairs, strict=True)], 1)
        q_KS, r_SS = torch.linalg.qr(a_SK.T)
        p_NS, t_SS = torch.linalg.qr(b_NS)
        u, values, v = torch.linalg.svd(t_SS @ r_SS.T)
        root = values[: first.rank].sqrt()
        a_RK = root[:, None] * (v[: first.rank] @ q_KS.T)
        kept[name] = (a_RK, (p_NS @ u[:, : first.rank]) * root)
    return Adapter(first.rank, first.alpha, kept)


def _targets(model: Transformer) -> dict[str, nn.Linear]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in TARGETS
    }
