"""Weights shared out among processes by FSDP2: each holds a part of every parameter."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from xgen.model.transformer import Transformer
from xgen.train.weights import Group, Weights, by_kind, squared_norm


class ShardedWeights(Weights):
    """The trained parameters of a model of which this process holds a part (Zhao et al. 2023).

    A layer's weights are gathered in `dtype` for the time they are needed; gradients are summed in fp32.
    The masters are the parts themselves, so there is nothing to publish.
    """

    def __init__(self, model: Transformer, dtype: torch.dtype, n_processes: int) -> None:
        device = next(model.parameters()).device
        self._mesh = init_device_mesh(device.type, (n_processes,))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for layer in model.layers:
            fully_shard(layer, mesh=self._mesh, mp_policy=policy)
        fully_shard(model, mesh=self._mesh, mp_policy=policy)
        for name in ("loss", "token_losses"):
            register_fsdp_forward_method(model, name)
        self._names = by_kind(model)
        self._parameters = dict(model.named_parameters())
        matrices, vectors = ([self._part(name) for name in names] for names in self._names)
        self.masters = matrices, vectors

    @property
    def gradients(self) -> tuple[Group, Group]:  # type: ignore[override]
        """This process's parts of the gradients."""
        matrices, vectors = ([self._gradient(name) for name in names] for names in self._names)
        return matrices, vectors

    def take_gradients(self, first: bool) -> None:
        """FSDP adds them up itself."""

    def squared_grad_norm(self) -> Tensor:
        """The square of the norm of this process's parts; the sum over processes is that of the whole."""
        return squared_norm([gradient for group in self.gradients for gradient in group])

    def publish(self) -> None:
        """The masters are what is gathered."""

    def zero_gradients(self) -> None:
        """Begin the next step."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def whole(self, groups: tuple[Group, Group] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Each parameter's name with the whole of it, gathered; every process must ask."""
        for names, parts in zip(self._names, groups or self.masters, strict=True):
            for name, part in zip(names, parts, strict=True):
                like = self._parameters[name].data
                assert isinstance(like, DTensor)
                shared = DTensor.from_local(
                    part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
                )
                yield name, shared.full_tensor()

    def put(self, values: Mapping[str, Tensor], groups: tuple[Group, Group] | None = None) -> None:
        """Set this process's parts of `groups` (the masters, if none) from whole tensors."""
        for names, parts in zip(self._names, groups or self.masters, strict=True):
            for name, part in zip(names, parts, strict=True):
                like = self._parameters[name].data
                assert isinstance(like, DTensor)
                whole = values[name].to(part.device)
                part.copy_(distribute_tensor(whole, like.device_mesh, like.placements).to_local())

    def _part(self, name: str) -> Tensor:
        data = self._parameters[name].data
        assert isinstance(data, DTensor)
        return data.to_local()

    def _gradient(self, name: str) -> Tensor:
        gradient = self._parameters[name].grad
        assert isinstance(gradient, DTensor)
        return gradient.to_local()
