"""What a run has read, told from its plan and its position alone, and whose documents a step had."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xgen.data.plan import StagePlan, StageSpec, plan_run
from xgen.data.shards import HELD, MANIFEST_FILE, Corpus, open_corpus
from xgen.errors import BadCorpus, BadRecipe
from xgen.files import sha256_of

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Entry:
    """What was read of one set.

    `documents` different ones, wholly or in part; `positions` went in, `trained` of them counted in the
    loss, `long` of them were in documents of at least a row's length; `epochs` is positions over those
    of the whole set.
    """

    set: str
    language: str
    documents: int
    positions: int
    trained: int
    long: int
    epochs: float


@dataclass(frozen=True)
class Read:
    """A piece of a document that a row held: its tokens [start, end) of `n_tokens` in all.

    `index` is the document's number in its set; nothing keeps two from having the same `id`.
    """

    set: str
    index: int
    id: str
    source: str
    licence: str
    language: str
    row: int
    start: int
    end: int
    n_tokens: int


def read_by_stage(corpus: Corpus, plan: StagePlan, rows: range | None = None) -> tuple[Entry, ...]:
    """What consecutive rows of a stage read (None: all of them), set by set."""
    here = plan.pieces(range(plan.n_rows) if rows is None else rows)
    size = (plan.end[here] - plan.start[here]).astype(np.int64)
    found = []
    for index, name in enumerate(plan.sets):
        tokens, mine = corpus.sets[name], plan.set_index[here] == index
        document = plan.document[here][mine]
        is_long = tokens.lengths[document] >= plan.length
        whole = tokens.n_tokens + (tokens.n_documents if tokens.trained is None else 0)
        positions = int(size[mine].sum())
        found.append(
            Entry(
                name,
                tokens.language,
                len(np.unique(document)),
                positions,
                int(plan.targets[here][mine].sum()),
                int(size[mine][is_long].sum()),
                positions / whole,
            )
        )
    return tuple(found)


def read_until(corpus: Corpus, plans: Sequence[StagePlan], n_steps: int) -> tuple[tuple[Entry, ...], ...]:
    """What the first `n_steps` steps of a run read, stage by stage; of a stage not begun, nothing."""
    found = []
    for plan in plans:
        steps = min(max(n_steps, 0), plan.n_steps)
        found.append(read_by_stage(corpus, plan, range(steps * plan.rows_per_step)))
        n_steps -= steps
    return tuple(found)


def steps_done(run: Path) -> int:
    """The last step that a run wrote down in metrics.jsonl; 0 if it has none yet."""
    path = run / METRICS_FILE
    last = 0
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            last = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            break  # the line that a run is just writing
    return last


def never_read(corpus: Corpus, plans: Sequence[StagePlan]) -> dict[str, int]:
    """Tokens of each training set that no stage of a run reads."""
    left = {}
    for name, tokens in corpus.sets.items():
        if name.endswith(HELD):
            continue
        ends = np.zeros(tokens.n_documents, np.int64)
        for plan in plans:
            if name in plan.sets:
                mine = plan.set_index == plan.sets.index(name)
                np.maximum.at(ends, plan.document[mine], plan.end[mine])
        left[name] = int((tokens.lengths - np.minimum(ends, tokens.lengths)).sum())
    return left


def by_licence(corpus: Corpus, plans: Sequence[StagePlan]) -> dict[str, list[int]]:
    """Positions that each stage reads of the documents of each licence; reads the lists of documents."""
    found: dict[str, list[int]] = {}
    for name in sorted({name for plan in plans for name in plan.sets}):
        tokens = corpus.sets[name]
        sizes = np.zeros((tokens.n_documents, len(plans)), np.int64)
        for number, plan in enumerate(plans):
            if name in plan.sets:
                mine = plan.set_index == plan.sets.index(name)
                np.add.at(sizes[:, number], plan.document[mine], (plan.end - plan.start)[mine])
        for record, of_it in zip(tokens.documents(), sizes.tolist(), strict=True):
            if any(of_it):
                counts = found.setdefault(record.licence, [0] * len(plans))
                counts[:] = map(sum, zip(counts, of_it, strict=True))
    return dict(sorted(found.items(), key=lambda pair: (-sum(pair[1]), pair[0])))


# ---- one step -------------------------------------------------------------------------------------


def rows_of_step(plans: Sequence[StagePlan], step: int) -> tuple[StagePlan, range]:
    """The stage and the rows of a run's step, counted from 1 over all stages as metrics.jsonl does.

    BadRecipe if the run has no such step.
    """
    before = 0
    for plan in plans:
        if before < step <= before + plan.n_steps:
            first = (step - before - 1) * plan.rows_per_step
            return plan, range(first, first + plan.rows_per_step)
        before += plan.n_steps
    raise BadRecipe(f"step {step}", f"the run has steps 1 to {before:,}", "name one of them")


def trace(corpus: Corpus, plan: StagePlan, rows: range) -> list[Read]:
    """The documents that consecutive rows of a stage hold, row by row."""
    pieces = list(_pieces_of(plan, rows))
    records = {
        (name, document): record
        for name in plan.sets
        if (wanted := sorted({document for _, one, document, *_ in pieces if one == name}))
        for document, record in zip(wanted, corpus.sets[name].documents(wanted), strict=True)
    }
    found = []
    for row, name, document, start, end in pieces:
        record, n_tokens = records[name, document], int(corpus.sets[name].lengths[document])
        place = (start, min(end, n_tokens), n_tokens)
        whose = (record.id, record.source, record.licence, record.language)
        found.append(Read(name, document, *whose, row, *place))
    return found


def _pieces_of(plan: StagePlan, rows: Iterable[int]) -> Iterator[tuple[int, str, int, int, int]]:
    """Row, set, document, start and end of each piece."""
    for row in rows:
        here = plan.pieces(range(row, row + 1))
        columns = (array[here].tolist() for array in (plan.set_index, plan.document, plan.start, plan.end))
        for index, document, start, end in zip(*columns, strict=True):
            yield row, plan.sets[index], document, start, end


def open_run(run: Path, corpus_folder: Path | None = None) -> tuple[Corpus, tuple[StagePlan, ...]]:
    """The corpus and the plan of a run, of its run.json alone; a corpus that has moved may be named.

    BadRecipe if the file is missing or damaged, BadCorpus if the corpus is not there or not the run's.
    """
    path = run / RUN_FILE
    try:
        table = json.loads(path.read_bytes())
        folder = corpus_folder or Path(table["corpus"])
        digest, seed, tokens_per_step = table.get("corpus_sha256"), table["seed"], table["tokens_per_step"]
        fields = StageSpec.__dataclass_fields__
        stages = [StageSpec(**{name: stage[name] for name in fields}) for stage in table["stages"]]
    except FileNotFoundError as error:
        raise BadRecipe(str(run), f"it has no {RUN_FILE}", "name a folder that `xgen train` wrote") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it cannot be used ({type(error).__name__}: {error})"
        raise BadRecipe(str(path), what, "name a folder that `xgen train` wrote") from error
    corpus = open_corpus(folder, check=True)
    if digest and sha256_of(folder / MANIFEST_FILE) != digest:
        raise BadCorpus(str(folder), f"it is not the corpus that {run} read", "name that one with --corpus")
    try:
        return corpus, plan_run(corpus, stages, seed, tokens_per_step)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"no plan can be made of it ({type(error).__name__}: {error})"
        raise BadRecipe(str(path), what, "name a folder that `xgen train` wrote") from error
