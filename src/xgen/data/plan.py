"""What every stage of a run reads, row by row, known before the run begins.

A plan follows from the corpus, the stages and the seed alone: rows are numbered, row i belongs to step
i // rows_per_step, and who computes it does not matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xgen.data.mix import Bookmark, Reading, matches, part_of, read_on, wanted
from xgen.data.pack import Piece, Queue, Row, best_fit, cut, lay
from xgen.data.shards import Corpus, TokenSet
from xgen.errors import BadCorpus

SHUFFLED_ROWS = 1024
"""Rows are shuffled within stretches of so many, in which a long document's pieces are spread already."""

_ROWS = 0x726F7773  # "rows": tells the seed of their order from those of documents' orders


@dataclass(frozen=True)
class StageSpec:
    """What a stage of a run reads.

    `tokens` positions, in rows of `length`; `mix` gives patterns of sets ("prose.*", "book.de") their weight,
    which their sets share by tokens to the power of `temperature`. No set is read more than `max_epochs`
    times over the whole run so far. At least `long_share` of the tokens come from documents of `length`
    tokens or more.
    """

    name: str
    length: int
    tokens: int
    mix: dict[str, float]
    max_epochs: float
    long_share: float
    temperature: float


@dataclass(frozen=True)
class StagePlan:
    """The rows of one stage. Piece p is positions [start[p], end[p]) of a document (pack.py).

    Piece arrays are int32 [n_pieces]: `set_index` into `sets`, `document`, `start`, `end`, and how many
    targets of the loss it has. Row i holds pieces [offsets[i], offsets[i + 1]); offsets int64 [n_rows + 1].
    """

    name: str
    length: int
    n_rows: int
    rows_per_step: int
    sets: tuple[str, ...]
    set_index: NDArray[np.int32] = field(repr=False)
    document: NDArray[np.int32] = field(repr=False)
    start: NDArray[np.int32] = field(repr=False)
    end: NDArray[np.int32] = field(repr=False)
    targets: NDArray[np.int32] = field(repr=False)
    offsets: NDArray[np.int64] = field(repr=False)

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the stage."""
        return self.n_rows // self.rows_per_step

    def pieces(self, rows: range) -> slice:
        """Where the pieces of consecutive rows stand in the arrays."""
        return slice(int(self.offsets[rows.start]), int(self.offsets[rows.stop]))

    def row(self, corpus: Corpus, index: int) -> Row:
        """Row `index`, read from the corpus that the plan was made of."""
        here = self.pieces(range(index, index + 1))
        sets = [corpus.sets[name] for name in self.sets]
        columns = (array[here].tolist() for array in (self.set_index, self.document, self.start, self.end))
        pieces = (Piece(sets[number], *place) for number, *place in zip(*columns, strict=True))
        return lay(pieces, self.length, corpus.eot_id)

    def trained_tokens(self, index: int) -> int:
        """How many targets of row `index` the loss counts."""
        return int(self.targets[self.pieces(range(index, index + 1))].sum())


def plan_run(
    corpus: Corpus, stages: Sequence[StageSpec], seed: int, tokens_per_step: int
) -> tuple[StagePlan, ...]:
    """Plan all stages of a run; each goes on in every set where the one before it stopped.

    A stage's tokens are rounded up to whole steps. BadCorpus, with how much is short and what to do,
    if a stage cannot be fed; ValueError if `tokens_per_step` is not a multiple of a stage's length.
    """
    bookmarks = {
        name: Bookmark(tokens, np.zeros(tokens.n_documents, np.int64)) for name, tokens in corpus.sets.items()
    }
    plans = []
    for number, stage in enumerate(stages):
        rows_per_step, rest = divmod(tokens_per_step, stage.length)
        if rest or not rows_per_step:
            raise ValueError(f"{tokens_per_step} tokens a step are not whole rows of {stage.length}")
        n_rows = -(-stage.tokens // tokens_per_step) * rows_per_step
        plan = _plan_stage(corpus, stage, bookmarks, n_rows, rows_per_step, seed, number)
        for index, name in enumerate(plan.sets):
            mine = plan.set_index == index
            read = (plan.end - plan.start)[mine]
            bookmarks[name] = bookmarks[name].after(plan.document[mine], read)
        plans.append(plan)
    return tuple(plans)


def missing(stages: Iterable[StageSpec], names: Iterable[str]) -> dict[str, int]:
    """Patterns of the stages' mixes that none of the sets `names` matches, and the tokens wanted of each."""
    there, found = tuple(names), dict[str, int]()
    for stage in stages:
        for pattern in stage.mix:
            if not matches(pattern, there):
                found[pattern] = found.get(pattern, 0) + part_of(stage.mix, pattern, stage.tokens)
    return found


def _plan_stage(
    corpus: Corpus,
    stage: StageSpec,
    bookmarks: dict[str, Bookmark],
    n_rows: int,
    rows_per_step: int,
    seed: int,
    number: int,
) -> StagePlan:
    n_positions = n_rows * stage.length
    positions = wanted(stage.name, stage.mix, stage.temperature, n_positions, stage.max_epochs, bookmarks)
    for name in positions:
        _require_whole(stage, corpus.sets[name])
    readings = read_on(stage.name, bookmarks, positions, stage.length, stage.long_share, seed)
    names = tuple(readings)
    offered = _offer(corpus, stage.length, readings, bookmarks)
    first = np.cumsum([0, *(corpus.sets[name].n_documents for name in names)])
    documents = first[offered.set_index] + offered.document
    queue = Queue(offered.end - offered.start, documents, offered.set_index, offered.turn)
    rows = best_fit(queue, stage.length, n_rows)
    placed = np.flatnonzero(rows >= 0)
    place = _shuffled(n_rows, seed, number)[rows[placed]]
    in_rows = np.argsort(place, kind="stable")
    pieces = offered.at(placed[in_rows])
    set_index, document, start, end = (
        array.astype(np.int32) for array in (pieces.set_index, pieces.document, pieces.start, pieces.end)
    )
    targets = _targets(corpus, names, pieces)
    offsets = np.searchsorted(place[in_rows], np.arange(n_rows + 1)).astype(np.int64)
    return StagePlan(
        stage.name,
        stage.length,
        n_rows,
        rows_per_step,
        names,
        set_index,
        document,
        start,
        end,
        targets,
        offsets,
    )


@dataclass(frozen=True)
class _Pieces:
    """Arrays of one length: what StagePlan says of pieces, and when in [0, 1) they are due."""

    set_index: NDArray[np.int64]
    document: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    turn: NDArray[np.int64]
    due: NDArray[np.float64]

    def at(self, indices: NDArray[np.int64]) -> "_Pieces":
        return _Pieces(*(array[indices] for array in vars(self).values()))


def _offer(
    corpus: Corpus, length: int, readings: dict[str, Reading], bookmarks: dict[str, Bookmark]
) -> _Pieces:
    """All pieces of a stage in the order in which they look for rows, each set spread over all of it."""
    parts = []
    for index, (name, reading) in enumerate(readings.items()):
        document, start, end, turn = _cut_all(
            corpus, corpus.sets[name], reading, bookmarks[name].sizes, length
        )
        size = end - start
        due = (np.cumsum(size) - size / 2) / size.sum()
        parts.append((np.full(len(size), index), document, start, end, turn, due))
    pieces = _Pieces(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return pieces.at(np.argsort(pieces.due, kind="stable"))


def _cut_all(
    corpus: Corpus, tokens: TokenSet, reading: Reading, sizes: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], ...]:
    """Document, start, end and turn, int64, of all pieces of a reading; only long documents are cut."""
    end = sizes[reading.document]
    cuts: list[list[int]] = []
    long = np.flatnonzero(end - reading.start > length)
    for document, start, limit in zip(
        *(array[long].tolist() for array in (reading.document, reading.start, reading.limit)), strict=True
    ):
        ends = cut(tokens.document(document), corpus.breaks, start, length, limit)
        cuts.append(ends)
    counts = np.ones(len(end), np.int64)
    counts[long] = [len(ends) for ends in cuts]
    owner = np.repeat(np.arange(len(end)), counts)
    starts, ends_of = reading.start[owner], end[owner]
    firsts = (np.cumsum(counts) - counts)[long].tolist()
    for first, ends in zip(firsts, cuts, strict=True):
        ends_of[first : first + len(ends)] = ends
        starts[first + 1 : first + len(ends)] = ends[:-1]
    return reading.document[owner], starts, ends_of, reading.turn[owner]


def _targets(corpus: Corpus, names: tuple[str, ...], pieces: _Pieces) -> NDArray[np.int32]:
    """Targets of the loss in each piece, int32: all its positions, of a tuning record those marked."""
    found = pieces.end - pieces.start
    for index, name in enumerate(names):
        tokens = corpus.sets[name]
        if tokens.trained is None or tokens.parts is None:
            continue
        marked = (tokens.trained != 0).astype(np.int64)
        marked[np.cumsum(tokens.parts[:, 1]) - tokens.parts[:, 1]] = (
            0  # nothing leads to a part's first token
        )
        mine = pieces.set_index == index
        found[mine] = np.add.reduceat(marked, tokens.starts[:-1])[pieces.document[mine]]
    return found.astype(np.int32)


def _shuffled(n_rows: int, seed: int, stage: int) -> NDArray[np.int64]:
    """Where each row goes, a permutation within stretches of SHUFFLED_ROWS; numbers as in mix.order."""
    stretch = np.arange(n_rows) // SHUFFLED_ROWS
    numbers = np.random.PCG64(np.random.SeedSequence([seed, _ROWS, stage])).random_raw(n_rows)
    found = np.empty(n_rows, np.int64)
    found[np.lexsort((numbers, stretch))] = np.arange(n_rows)
    return found


def _require_whole(stage: StageSpec, tokens: TokenSet) -> None:
    """BadCorpus if a tuning set has a record that no row of the stage holds."""
    if tokens.trained is None:
        return
    too_long = np.flatnonzero(tokens.lengths > stage.length)
    if len(too_long):
        record = next(tokens.documents(too_long[:1]))
        more = f" (and {len(too_long) - 1:,} more)" if len(too_long) > 1 else ""
        raise BadCorpus(
            f"stage {stage.name}",
            f"record {record.id}{more} of {tokens.name} has {int(tokens.lengths[too_long[0]]):,} tokens, "
            f"a row has {stage.length:,}, and records are not cut",
            "give the stage a larger length or leave such records out of the corpus",
        )
