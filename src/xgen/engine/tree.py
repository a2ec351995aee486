"""Many continuations of one prefix at once: a tree of tokens behind a cache.

Each node sees the cache, its ancestors and itself, so beams fork without copying keys and any
number of continuations share one pass (tree attention: Miao et al. 2024, SpecInfer).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.model.transformer import Transformer

ROOT = -1
"""The parent of nodes that follow the cache directly."""


class Tree:
    """Nodes live in the cache's room behind `cache.length`, which stays where it is."""

    def __init__(self, model: Transformer, cache: Cache) -> None:
        self.model = model
        self.cache = cache
        self.depths: list[int] = []
        self.seen_by: list[frozenset[int]] = []

    @torch.inference_mode()
    def grow(self, ids: Sequence[int], parents: Sequence[int]) -> Tensor:
        """Add nodes `ids`; parents[i] is a node's number (also one of this call) or ROOT.

        Returns logits [n, V] (fp32) of what follows each new node. New nodes are numbered on.
        Raises ValueError when the cache has no room.
        """
        first = len(self.depths)
        start = self.cache.length + first
        if start + len(ids) > self.cache.capacity:
            raise ValueError(f"{start + len(ids)} tokens, but the cache holds {self.cache.capacity}")
        for node, parent in enumerate(parents, first):
            self.depths.append(0 if parent == ROOT else self.depths[parent] + 1)
            above: frozenset[int] = frozenset() if parent == ROOT else self.seen_by[parent]
            self.seen_by.append(above | {node})
        device = self.model.embedding.weight.device
        mask_TS = torch.zeros(len(ids), start + len(ids), dtype=torch.bool)
        mask_TS[:, : self.cache.length] = True
        for row, seen in enumerate(self.seen_by[first:]):
            mask_TS[row, [self.cache.length + node for node in seen]] = True
        positions = torch.tensor([self.cache.length + depth for depth in self.depths[first:]])
        hidden = self.model(
            torch.tensor([list(ids)], device=device),
            positions.to(device),
            cache=self.cache.buffers,
            start=start,
            mask_TS=mask_TS.to(device),
        )
        return self.model.logits(hidden[0])
