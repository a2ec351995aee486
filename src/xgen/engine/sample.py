"""From logits to an id: the likeliest, or a draw."""

from collections.abc import Callable, Collection

import torch
from torch import Tensor


def greedy(hidden_ids: Collection[int] = ()) -> Callable[[Tensor], int]:
    """Choose the likeliest id; `hidden_ids` never."""
    hidden = torch.tensor(list(hidden_ids), dtype=torch.long)

    def choose(logits_V: Tensor) -> int:
        return int(without(logits_V, hidden).argmax())

    return choose


def sampler(
    temperature: float, top_k: int = 0, top_p: float = 1.0, seed: int = 0, hidden_ids: Collection[int] = ()
) -> Callable[[Tensor], int]:
    """Draw an id from softmax(logits / temperature), cut to the `top_k` likeliest and `top_p` of mass.

    `top_k` 0 and `top_p` 1 cut nothing (nucleus: Holtzman et al. 2020). The draws are repeatable
    by `seed`. Raises ValueError for a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError("temperature must be positive; greedy() takes the likeliest")
    hidden = torch.tensor(list(hidden_ids), dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)

    def choose(logits_V: Tensor) -> int:
        values, ids = (without(logits_V, hidden).float().cpu() / temperature).sort(descending=True)
        probabilities = values.softmax(-1)
        keep = probabilities.cumsum(-1) - probabilities < top_p
        if top_k:
            keep[top_k:] = False
        return int(ids[torch.multinomial(probabilities * keep, 1, generator=generator)])

    return choose


def without(logits_V: Tensor, hidden: Tensor) -> Tensor:
    """A copy of the logits in which the ids `hidden` cannot be chosen."""
    return logits_V.index_fill(-1, hidden.to(logits_V.device), float("-inf")) if hidden.numel() else logits_V
