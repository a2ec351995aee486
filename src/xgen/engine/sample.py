"""From logits to an id: the likeliest, or a draw.

In this order, as the field has it (transformers' processors, in the order of its `generate`): the penalty on
what was said, the temperature T, then three cuts, each of what the one before has left:

    penalty θ   z/θ if z > 0, else z·θ, for ids that the reply holds        Keskar et al. 2019, section 4.1
    T           p = softmax(z / T)
    top-k       the k likeliest stay                                        Fan et al. 2018
    top-p       the smallest set of likeliest ids with Σp ≥ top_p stays     Holtzman et al. 2020
    min-p       ids with p ≥ min_p · max p stay                             Nguyen et al. 2024
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.errors import XgenError

Choose = Callable[[Tensor], int]


@dataclass(frozen=True)
class Sampling:
    """How ids are chosen: at `temperature` 0 the likeliest, above it a draw, repeatable by `seed`.

    `top_k` 0, `top_p` 1 and `min_p` 0 cut nothing, `repetition_penalty` 1 changes nothing. XgenError for a
    number out of range, and for cuts where nothing is drawn.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check all numbers; what is no number is out of every range."""
        for name, sound, way_out in (
            (
                "temperature",
                self.temperature == 0 or 0.01 <= self.temperature <= 100,
                "use 0, or 0.01 to 100",
            ),
            ("top_k", self.top_k >= 0, "use 0 or more"),
            ("top_p", 0 < self.top_p <= 1, "use more than 0, at most 1"),
            ("min_p", 0 <= self.min_p < 1, "use 0 or more, less than 1"),
            ("repetition_penalty", 0.1 <= self.repetition_penalty <= 10, "use 0.1 to 10"),
            ("seed", 0 <= self.seed < 2**63, "use 0 or a number of at most 18 digits"),
        ):
            if not sound:
                flag = "--" + name.replace("_", "-")
                raise XgenError(flag, f"{getattr(self, name)} is out of range", way_out)
        cuts = {"--top-k": self.top_k > 0, "--top-p": self.top_p < 1, "--min-p": self.min_p > 0}
        if self.temperature == 0 and any(cuts.values()):
            flag = next(flag for flag, given in cuts.items() if given)
            way_out = "set --temperature too, 1 for the model's own, or leave it out"
            raise XgenError(flag, "it cuts draws, and at --temperature 0 nothing is drawn", way_out)


LIKELIEST = Sampling()
MOSTLY_ENOUGH = 1024
"""So many of the likeliest ids are sorted at first: all of a large vocabulary take longer than a token."""


@dataclass(frozen=True)
class Greedy:
    """Choose the likeliest id; those in `hidden` [n] never. Its form lets a GPU make the choice itself."""

    hidden: Tensor

    def __call__(self, logits_V: Tensor) -> int:
        """The id of the largest of the logits [V]."""
        return int(without(logits_V, self.hidden).argmax())


def greedy(hidden_ids: Collection[int] = ()) -> Greedy:
    """Choose the likeliest id; `hidden_ids` never."""
    return Greedy(torch.tensor(list(hidden_ids), dtype=torch.long))


def sampler(sampling: Sampling, hidden_ids: Collection[int] = ()) -> Choose:
    """Choose as `sampling` says, but for the penalty (see `not_repeating`); `hidden_ids` never."""
    if sampling.temperature == 0:
        return greedy(hidden_ids)
    hidden = torch.tensor(list(hidden_ids), dtype=torch.long)
    generator = torch.Generator().manual_seed(sampling.seed)

    def choose(logits_V: Tensor) -> int:
        ids, probabilities = candidates(without(logits_V, hidden), sampling)
        reached = probabilities.cumsum(-1)
        # drawn on the CPU, whose numbers are the same everywhere
        point = torch.rand(1, generator=generator, dtype=torch.float64).to(reached)
        index = torch.searchsorted(reached, point * reached[-1], right=True)
        return int(ids[index.clamp(max=len(ids) - 1)])

    return choose


def candidates(logits_V: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The ids [n] that may be drawn and their probabilities (fp32, of sum 1), in any order."""
    scaled = logits_V.float() / sampling.temperature
    ids = torch.arange(len(scaled), device=scaled.device)
    if sampling.top_k:
        scaled, ids = scaled.topk(min(sampling.top_k, len(scaled)))
    probabilities = scaled.softmax(-1)
    if sampling.top_p < 1:
        ranked, order = probabilities.topk(min(MOSTLY_ENOUGH, len(ids)))
        if ranked.sum() < sampling.top_p:
            ranked, order = probabilities.sort(descending=True)
        nucleus = ranked.cumsum(-1) - ranked < sampling.top_p
        ids, probabilities = ids[order[nucleus]], ranked[nucleus]
    keep = (probabilities >= sampling.min_p * probabilities.max()) & (probabilities > 0)
    kept = probabilities[keep]
    return ids[keep], kept / kept.sum()


def not_repeating(choose: Choose, penalty: float) -> Choose:
    """Choose with ids of this reply made less likely (above 1) or more: make a new one for each reply.

    What the reply answers to is not counted, as in the paper: a document's words are to be used.
    """
    if penalty == 1:
        return choose
    said: set[int] = set()

    def choose_anew(logits_V: Tensor) -> int:
        if said:
            logits_V = logits_V.float()
            ids = torch.tensor(list(said), device=logits_V.device)
            scores = logits_V[ids]
            logits_V = logits_V.index_copy(
                0, ids, torch.where(scores > 0, scores / penalty, scores * penalty)
            )
        token = choose(logits_V)
        said.add(token)
        return token

    return choose_anew


def without(logits_V: Tensor, hidden: Tensor) -> Tensor:
    """A copy of the logits in which the ids `hidden` cannot be chosen."""
    return logits_V.index_fill(-1, hidden.to(logits_V.device), float("-inf")) if hidden.numel() else logits_V
