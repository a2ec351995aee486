"""The weights while they are trained: fp32 masters, their gradients, and the copies that compute.

Parameters are kept by two groups, matrices, which decay, and vectors, which do not; a group is a list of
plain tensors of this process.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

Group = list[Tensor]

ALIGNMENT = 64
"""Elements that every tensor begins at a multiple of: kernels read whole lines of memory."""


class Weights:
    """The trained parameters of one model on one device, in one block of memory a group.

    A small model is many small tensors, and a pass over each is a kernel. Here all matrices lie one behind
    the other, then all vectors, and the parameters of the model are views: the copy to bf16, the gradient
    norm and AdamW are one kernel each.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Takes over every parameter of `model` that requires a gradient; others are only cast."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._device = named[0][1].device
        self._views: dict[str, Tensor] = {}
        self._copies: Group = []
        self._copied_gradients: Group = []
        self._names = by_kind(model)
        parameters = dict(named)
        blocks = [self._lay_out([(name, parameters[name]) for name in names], dtype) for names in self._names]
        self.masters: tuple[Group, Group] = ([blocks[0][0]], [blocks[1][0]])
        self.gradients: tuple[Group, Group] = ([blocks[0][1]], [blocks[1][1]])
        model.to(dtype)
        self.publish()

    def _lay_out(self, named: list[tuple[str, nn.Parameter]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        ends = list(accumulate((_room(p) for _, p in named), initial=0))
        master = torch.zeros(ends[-1], device=self._device)
        gradient = torch.zeros_like(master)
        is_copy = dtype is not torch.float32
        copy = torch.zeros_like(master, dtype=dtype) if is_copy else master
        copied_gradient = torch.zeros_like(copy) if is_copy else gradient
        for (name, parameter), begin in zip(named, ends, strict=False):
            here = slice(begin, begin + parameter.numel())
            self._views[name] = master[here].view(parameter.shape)
            self._views[name].copy_(parameter.detach())
            parameter.grad = None
            parameter.data = copy[here].view(parameter.shape)
            parameter.grad = copied_gradient[here].view(parameter.shape)
        self._copies.append(copy)
        self._copied_gradients.append(copied_gradient)
        return master, gradient

    def take_gradients(self, first: bool) -> None:
        """Add what a backward pass left to the fp32 gradients; call it after each one.

        The `first` of a step is not added to what is there but takes its place.
        """
        for (gradient,), copied in zip(self.gradients, self._copied_gradients, strict=True):
            if copied is not gradient:
                gradient.copy_(copied) if first else gradient.add_(copied)
                copied.zero_()

    def squared_grad_norm(self) -> Tensor:
        """The square of the norm of this process's gradients, an fp32 scalar."""
        return squared_norm([gradient for group in self.gradients for gradient in group])

    def publish(self) -> None:
        """Let the model compute with what the masters are now."""
        for (master,), copy in zip(self.masters, self._copies, strict=True):
            if copy is not master:
                copy.copy_(master)

    def zero_gradients(self) -> None:
        """Begin the next step."""
        for (gradient,), copied in zip(self.gradients, self._copied_gradients, strict=True):
            if copied is gradient:  # else the first of the step takes its place
                gradient.zero_()

    def whole(self, groups: tuple[Group, Group] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Each parameter's name with its part of `groups`, laid out as the masters are (they, if none)."""
        for names, (flat,) in zip(self._names, groups or self.masters, strict=True):
            begin = 0
            for name in names:
                view = self._views[name]
                yield name, flat[begin : begin + view.numel()].view(view.shape)
                begin += _room(view)

    def put(self, values: Mapping[str, Tensor], groups: tuple[Group, Group] | None = None) -> None:
        """Set `groups` (the masters, if none) to what `whole` gave of them."""
        for name, part in self.whole(groups):
            part.copy_(values[name])


def by_kind(model: nn.Module) -> tuple[list[str], list[str]]:
    """The names of the trained matrices of a model, and of its trained vectors."""
    named = [(name, p.ndim) for name, p in model.named_parameters() if p.requires_grad]
    return [name for name, ndim in named if ndim >= 2], [name for name, ndim in named if ndim < 2]


def squared_norm(tensors: Group) -> Tensor:
    """The square of the Euclidean norm of all `tensors` together, an fp32 scalar."""
    return torch.stack(torch._foreach_norm(tensors)).square().sum()


def _room(tensor: Tensor) -> int:
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
