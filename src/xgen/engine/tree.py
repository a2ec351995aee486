"""Many continuations at once: behind every row a tree of tokens.

Each node sees its row's text, its ancestors and itself, so beams fork without copying keys and any
number of continuations share one pass (tree attention: Miao et al. 2024, SpecInfer).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xgen.engine.cache import Rows
from xgen.model.transformer import Transformer

ROOT = -1
"""The parent of nodes that follow their row's text directly."""


class Tree:
    """Nodes are written into the rows' slots behind `rows.width`, which stays where it is.

    All rows have equally many nodes; what a row has no use for may be any id and is simply not looked at.
    """

    def __init__(self, model: Transformer, rows: Rows) -> None:
        self.model = model
        self.rows = rows
        self.n_nodes = 0
        n_rows, room = len(rows.lengths), rows.capacity - rows.width
        # the last line stands for ROOT: it sees no node and has depth -1
        self.sees = np.zeros((n_rows, room + 1, room), dtype=bool)
        self.depths = np.full((n_rows, room + 1), -1)
        self.text = np.arange(rows.width) < np.array(rows.lengths)[:, None]

    @torch.inference_mode()
    def grow(self, ids: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> Tensor:
        """Add n nodes to each row; parents[b][i] is a node's number (also one of this call) or ROOT.

        Returns logits [rows, n, V] (fp32) of what follows each new node. New nodes are numbered on.
        Raises ValueError when the rows have no room.
        """
        first, n_new = self.n_nodes, len(ids[0])
        width, end = self.rows.width, self.rows.width + self.n_nodes + n_new
        if end > self.rows.capacity:
            raise ValueError(f"{end} tokens, but a row holds {self.rows.capacity}")
        every = np.arange(len(self.rows.lengths))
        for node, above in enumerate(np.array(parents).T, first):
            self.sees[:, node] = self.sees[every, above]
            self.sees[:, node, node] = True
            self.depths[:, node] = self.depths[every, above] + 1
        self.n_nodes += n_new
        new = slice(first, self.n_nodes)
        text = np.broadcast_to(self.text[:, None], (len(every), n_new, width))
        mask_BTS = np.concatenate([text, self.sees[:, new, : self.n_nodes]], axis=2)
        positions_BT = np.array(self.rows.lengths)[:, None] + self.depths[:, new]
        device = self.model.device
        hidden_BTM = self.model(
            torch.tensor([list(row) for row in ids], device=device),
            torch.from_numpy(positions_BT).to(device),
            cache=self.rows.buffers,
            start=width + first,
            mask=torch.from_numpy(mask_BTS).to(device),
        )
        return self.model.logits(hidden_BTM)
