"""How well a model predicts documents it never trained on: bits per byte, and loss by position."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from xgen.data.pack import Row, rows_of
from xgen.data.shards import HELD, Corpus, TokenSet
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.train.recipe import Recipe, Stage
from xgen.train.rows import batch_of
from xgen.train.step import Training

BINS = (0, 16, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8192)
"""Where the positions of the loss by position are cut, in tokens."""


@dataclass(frozen=True)
class Score:
    """Of one held-out set: how many tokens, their mean loss in nats, and bits per byte of their text.

    Bits per byte (all the nats over ln 2 and the bytes) can be compared between vocabularies.
    """

    tokens: int
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class Bin:
    """Mean loss in nats of the tokens at positions [first, last) of rows that one document fills."""

    first: int
    last: int
    nats: float
    tokens: int


def scorer(
    recipe: Recipe, shape: Shape, corpus: Corpus, device: torch.device
) -> Callable[[Training, Stage], dict[str, Any]]:
    """What a run measures at the end of a stage: both scores below, ready for JSON.

    Every process computes the same, for where weights are shared out none can be without the others.
    """
    window, tokens = min(shape.max_seq_len, BINS[-1]), recipe.held_out_tokens
    rows = recipe.tokens_per_micro_step

    def score(run: Training, stage: Stage) -> dict[str, Any]:
        here = (run.model, corpus)
        sets = score_sets(*here, stage.length, tokens, max(1, rows // stage.length), device)
        bins = score_positions(*here, window, tokens, max(1, rows // window), device)
        return {
            "stage": stage.name,
            "length": stage.length,
            "sets": {name: asdict(one) for name, one in sets.items()},
            "positions": [asdict(one) for one in bins],
        }

    return score


def score_sets(
    model: Transformer, corpus: Corpus, length: int, max_tokens: int, rows_at_once: int, device: torch.device
) -> dict[str, Score]:
    """Scores on `max_tokens` at most of each held-out set, in rows of `length`, by the set's name."""
    scores = {}
    for name, tokens in _held_out(corpus):
        documents = range(documents_within(tokens, max_tokens))
        nats, n_tokens = 0.0, 0
        for rows in _groups(rows_of(corpus, tokens, documents, length), rows_at_once):
            nats += float(_losses(model, rows, device).sum())
            n_tokens += sum(int((row.targets >= 0).sum()) for row in rows)
        n_bytes = sum(record.bytes for record in tokens.documents(documents))
        per_token = nats / max(1, n_tokens)
        scores[name] = Score(n_tokens, per_token, nats / math.log(2) / max(1, n_bytes))
    return scores


def score_positions(
    model: Transformer, corpus: Corpus, length: int, max_tokens: int, rows_at_once: int, device: torch.device
) -> list[Bin]:
    """Loss by position over documents that fill rows of `length`, `max_tokens` of each held-out set at most.

    Every bin is of the same rows, so a later one is no other text than an earlier one.
    """
    sums, counts = np.zeros(len(BINS) - 1), np.zeros(len(BINS) - 1)
    for _, tokens in _held_out(corpus):
        full = _full_rows(corpus, tokens, length)
        for rows in _groups(islice(full, max_tokens // length), rows_at_once):
            for row, losses_T in zip(rows, _losses(model, rows, device), strict=True):
                trained = row.targets >= 0
                bins = np.searchsorted(BINS, row.position[trained], side="right") - 1
                np.add.at(sums, bins, losses_T[trained])
                np.add.at(counts, bins, 1)
    return [
        Bin(first, last, total / count, int(count))
        for first, last, total, count in zip(BINS, BINS[1:], sums, counts, strict=False)
        if count
    ]


def _held_out(corpus: Corpus) -> list[tuple[str, TokenSet]]:
    """The held-out sets of plain documents, by the names of the sets that they belong to."""
    return [
        (name.removesuffix(HELD), tokens)
        for name, tokens in sorted(corpus.sets.items())
        if name.endswith(HELD) and tokens.trained is None
    ]


def _full_rows(corpus: Corpus, tokens: TokenSet, length: int) -> Iterator[Row]:
    for document in np.flatnonzero(tokens.lengths >= length):
        for row in rows_of(corpus, tokens, range(document, document + 1), length):
            if (row.segment == 0).all() and (row.targets >= 0).all():
                yield row


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
        silent = replace(group[0], targets=np.full_like(group[0].targets, -1))
        yield group + [silent] * (size - len(group))  # another number of rows would be compiled anew


@torch.no_grad()
def _losses(model: Transformer, rows: list[Row], device: torch.device) -> np.ndarray:
    batch = batch_of(rows, device)
    losses_BT = model.token_losses(batch.ids, batch.targets, batch.positions, batch.packed)
    return losses_BT.double().cpu().numpy()
