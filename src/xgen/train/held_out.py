"""How well a model predicts documents it never trained on: bits per byte, and loss by position."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from xgen.data.pack import Row, rows_of
from xgen.data.shards import HELD, Corpus, TokenSet
from xgen.model.loss import token_losses
from xgen.model.transformer import Transformer
from xgen.train.rows import batch_of

BINS = (0, 16, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192)
"""Where the positions of the loss by position are cut, in tokens."""


@torch.no_grad()
def evaluate(
    model: Transformer, corpus: Corpus, length: int, max_tokens: int, rows_at_once: int, device: torch.device
) -> dict[str, Any]:
    """Scores on the held-out sets of `corpus`, `max_tokens` of each at most, in rows of `length`.

    `sets`: by set, trained tokens, nats per token and bits per byte (the nats of all its tokens over ln 2
    and the bytes of their text, so vocabularies can be compared). `positions`: mean nats by position, of
    those documents only that fill their row, so that every bin has the same documents.
    """
    sets: dict[str, Any] = {}
    sums, counts = np.zeros(len(BINS) - 1), np.zeros(len(BINS) - 1)
    for name, one in sorted(corpus.sets.items()):
        if not name.endswith(HELD) or one.trained is not None:
            continue
        n_documents = documents_within(one, max_tokens)
        nats, n_tokens = 0.0, 0
        for rows in _groups(rows_of(corpus, one, range(n_documents), length), rows_at_once):
            losses_BT = _losses(model, rows, device)
            nats += float(losses_BT.sum())
            n_tokens += sum(int((row.targets >= 0).sum()) for row in rows)
            _by_position(rows, losses_BT, sums, counts)
        n_bytes = sum(record.bytes for record in one.documents(range(n_documents)))
        sets[name.removesuffix(HELD)] = {
            "tokens": n_tokens,
            "nats_per_token": nats / max(1, n_tokens),
            "bits_per_byte": nats / math.log(2) / max(1, n_bytes),
        }
    positions = [
        {"from": begin, "to": end, "nats": total / count, "tokens": int(count)}
        for begin, end, total, count in zip(BINS, BINS[1:], sums, counts, strict=False)
        if count
    ]
    return {"length": length, "sets": sets, "positions": positions}


def documents_within(one: TokenSet, max_tokens: int) -> int:
    """How many of a set's first documents hold at most `max_tokens`, one at least."""
    return max(1, int(np.searchsorted(one.starts, max_tokens, side="right")) - 1)


def _groups(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _losses(model: Transformer, rows: list[Row], device: torch.device) -> np.ndarray:
    batch = batch_of(rows, device)
    hidden_BTM = model(batch.ids, batch.positions, mask=batch.packed)
    losses = token_losses(hidden_BTM.flatten(0, 1), model.output_weight, batch.targets.flatten())
    return losses.view(batch.ids.shape).double().cpu().numpy()


def _by_position(rows: list[Row], losses_BT: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> None:
    """Add the losses of the rows that one document fills."""
    for row, losses_T in zip(rows, losses_BT, strict=True):
        if (row.segment == row.segment[0]).all() and row.segment[0] >= 0:
            bins = np.searchsorted(BINS, row.position, side="right") - 1
            trained = row.targets >= 0
            np.add.at(sums, bins[trained], losses_T[trained])
            np.add.at(counts, bins[trained], 1)
