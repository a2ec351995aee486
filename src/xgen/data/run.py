"""The build of a corpus: sources -> filters -> duplicates, caps -> tokenizer -> token ids -> a corpus folder.

Work is done unit by unit (a package of a source) by as many processes as there are cores. What a unit gave
is kept in the work folder under a digest of all that it depends on; a build that was killed anywhere, or
whose recipe was changed, does the rest.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from xgen.data import clean, sources
from xgen.data.assemble import held_rows, require_replaceable, write_folder
from xgen.data.clean import Rules, clean_unit
from xgen.data.decontaminate import (
    Evaluations,
    digest_of,
    evaluation_files,
    evaluation_texts,
    texts_of_line,
)
from xgen.data.encode import Portion, encode_portion, encoded_file, sample_texts
from xgen.data.recipe import TUNING_SETS, CorpusRecipe, SourceSpec, held_back_ids
from xgen.data.select import Candidates, Choice, choose, load_candidates
from xgen.data.tally import Tally
from xgen.data.tuning import Manner, encode_tuning, template_of
from xgen.errors import XgenError
from xgen.files import held_alone, model_folder, whole_file, write_whole
from xgen.show import note, progress
from xgen.text.tokenizer import TOKENIZER_FILE

Task = tuple[Callable[..., None], tuple[Any, ...]]
_EVALUATIONS_FILE = "evaluations.npz"


@dataclass(frozen=True)
class Places:
    """Where things are: the corpus to be, its work folder, what was downloaded, mirrors of repositories."""

    out: Path
    work: Path
    downloads: Path
    mirror: Path | None = None
    evaluations: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Unit:
    """One package of one source (or a whole source), and the name of what it gives."""

    spec: SourceSpec
    name: str


@dataclass
class Built:
    """What a build reports beside the corpus: counts with samples, and seconds by step."""

    tally: Tally = field(default_factory=Tally)
    seconds: dict[str, float] = field(default_factory=dict)


def build_corpus(
    recipe: CorpusRecipe,
    places: Places,
    manner: Manner | None = None,
    n_workers: int = 0,
    quiet: bool = False,
) -> Built:
    """Make the corpus folder `places.out` of a recipe; 0 workers: as many as this process may use cores.

    `manner` is how tuning sets are put, and needed where there are some. XgenError if a source cannot be
    had or read, if the counts do not add up, if `places.out` is something else than a corpus, or while
    another process builds there.
    """
    require_replaceable(places.out)
    with held_alone(places.work / "lock", str(places.out), "another process builds it now"):
        return _build(recipe, places, manner, n_workers or _n_cores(), quiet)


def _build(recipe: CorpusRecipe, places: Places, manner: Manner | None, n_workers: int, quiet: bool) -> Built:
    built = Built()
    with (
        _timed(built, "download", quiet),
        progress("download", len(recipe.source), "sources", quiet) as advance,
    ):
        for spec in recipe.source:
            sources.download(spec, places.downloads, places.mirror, quiet)
            advance(1)
    with _timed(built, "evaluations", quiet):
        digest = _prepare_evaluations(recipe, places)
    units = units_of(recipe, digest)
    with _timed(built, "clean", quiet):
        todo = [unit for unit in units if not _cleaned(places, unit).exists()]
        _do_all("clean", [(_clean, (unit, recipe, places)) for unit in todo], n_workers, quiet)
    with _timed(built, "duplicates and caps", quiet):
        folders = [_cleaned(places, unit) for unit in units]
        candidates = load_candidates(folders, [unit.spec.set for unit in units])
        choice = choose(candidates, recipe.caps)
        portions = _portions(units, folders, candidates, choice)
    with _timed(built, "tokenizer", quiet):
        tokenizer = _tokenizer_folder(recipe, places, portions, candidates, choice)
    with _timed(built, "tokens", quiet):
        held = held_rows(recipe, candidates, choice)
        tokens = places.work / "tokens"
        tokens.mkdir(parents=True, exist_ok=True)
        encoded, tasks = [], []
        for i, (unit, portion) in enumerate(zip(units, portions, strict=True)):
            held_of = frozenset(candidates.rows[(candidates.units == i) & held].tolist())
            path, task = _encoding(unit, portion, held_of, tokenizer, tokens, manner)
            encoded.append(path)
            tasks += [] if path.exists() else [task]
        _do_all("tokens", tasks, n_workers, quiet)
    with _timed(built, "write", quiet):
        for folder in folders:
            built.tally.merge(_tally_before(folder))
        data = json.loads((tokenizer / TOKENIZER_FILE).read_bytes())
        write_folder(recipe, places.out, data, portions, encoded, candidates, choice, held, built.tally)
    _forget_old_work(places.work, folders, encoded)
    return built


def units_of(recipe: CorpusRecipe, evaluations: str) -> list[Unit]:
    """The units of a recipe, each with a name that changes when its result would."""
    units = []
    for spec in recipe.source:
        for package in spec.packages or ("",):
            one = replace(spec, packages=(package,) if package else ())
            depends = {
                "form": clean.FORM,
                "spec": asdict(replace(one, folder="")),
                "files": _state_of(one),
                "languages": sorted(recipe.languages),
                "evaluations": evaluations,
            }
            digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
            label = "".join(c if c.isalnum() or c in "._=+-" else "_" for c in f"{spec.name}={package}")
            units.append(Unit(one, f"{label[:100]}={digest}"))
    return units


def _state_of(spec: SourceSpec) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a source's own files: of those that are not a package of a version."""
    found = []
    for name in spec.paths:
        path = Path(spec.folder) / name
        files = sorted(path.rglob("*")) if path.is_dir() else sorted(path.parent.glob(path.name))
        for file in files:
            state = file.stat()
            found.append((str(file.relative_to(path.parent)), state.st_size, state.st_mtime_ns))
    return found


def _cleaned(places: Places, unit: Unit) -> Path:
    return places.work / "clean" / unit.name


def _clean(unit: Unit, recipe: CorpusRecipe, places: Places) -> None:
    """Clean one unit; runs in a worker."""
    evaluations = _evaluations(places.work / _EVALUATIONS_FILE)
    rules = Rules(frozenset(recipe.languages), evaluations, held_back_ids(recipe))
    found = sources.documents(unit.spec, places.downloads, places.mirror)
    clean_unit(found, unit.spec, rules, _cleaned(places, unit))


def _prepare_evaluations(recipe: CorpusRecipe, places: Places) -> str:
    """Write the hashes that workers read; a digest of the evaluation files and of what is held back."""
    files = evaluation_files(places.evaluations)
    held_back = held_back_ids(recipe)
    texts = list(_texts_held_back(recipe, places, held_back))
    digest = hashlib.sha256(repr((digest_of(files), sorted(held_back), texts)).encode()).hexdigest()
    path = places.work / _EVALUATIONS_FILE
    stamp = places.work / "evaluations.txt"
    if not path.exists() or not stamp.exists() or stamp.read_text() != digest:
        stamp.unlink(missing_ok=True)
        with whole_file(path) as draft:
            Evaluations.of(chain(evaluation_texts(files), texts)).save(draft)
        write_whole(stamp, digest.encode())
    return digest


def _texts_held_back(recipe: CorpusRecipe, places: Places, names: frozenset[str]) -> Iterator[str]:
    """All words of the tuning documents that no training may see: their texts are in other sources too."""
    for spec in recipe.source if names else ():
        if spec.set in TUNING_SETS:
            for document in sources.documents(spec, places.downloads, places.mirror):
                if document.id in names:
                    yield from texts_of_line(document.text)


@cache
def _evaluations(path: Path) -> Evaluations:
    return Evaluations.load(path)


def _portions(
    units: Sequence[Unit], folders: Sequence[Path], candidates: Candidates, choice: Choice
) -> list[Portion]:
    gone: dict[int, dict[int, set[int]]] = {}
    for document, piece, _ in choice.gone.tolist():
        index, row = int(candidates.units[document]), int(candidates.rows[document])
        gone.setdefault(index, {}).setdefault(row, set()).add(piece)
    portions = []
    for i, (unit, folder) in enumerate(zip(units, folders, strict=True)):
        rows = candidates.rows[(candidates.units == i) & (choice.reasons == 0)]
        pieces = {row: frozenset(gone_of) for row, gone_of in gone.get(i, {}).items()}
        n_candidates = int((candidates.units == i).sum())
        portions.append(Portion(folder, unit.spec.name, unit.spec.set, rows, n_candidates, pieces))
    return portions


def _encoding(
    unit: Unit, portion: Portion, held: frozenset[int], tokenizer: Path, folder: Path, manner: Manner | None
) -> tuple[Path, Task]:
    """Where the ids of a portion are kept, and the call that makes them."""
    if portion.set not in TUNING_SETS:
        path = encoded_file(portion, tokenizer, folder)
        return path, (encode_portion, (portion, tokenizer, path))
    if manner is None:
        raise ValueError("tuning sets need a manner")
    groups = unit.spec.groups
    depends = repr((sorted(held), manner.words, template_of(tokenizer, manner).source, groups))
    path = encoded_file(portion, tokenizer, folder, depends)
    return path, (encode_tuning, (portion, held, tokenizer, manner, groups, path))


def _tokenizer_folder(
    recipe: CorpusRecipe, places: Places, portions: Sequence[Portion], candidates: Candidates, choice: Choice
) -> Path:
    """A folder with the tokenizer.json: a model's, or one learned from the documents chosen."""
    if isinstance(recipe.tokenizer, str):
        for folder in (Path(recipe.tokenizer), model_folder(recipe.tokenizer)):
            if (folder / TOKENIZER_FILE).is_file():
                return folder
        way_out = f"call `xgen pull {recipe.tokenizer}`, or name a model's folder"
        raise XgenError(recipe.tokenizer, "its tokenizer is not on disk", way_out)
    from xgen.text.bpe import learn_bpe

    spec = recipe.tokenizer
    digest = hashlib.sha256(repr((spec, [portion.digest() for portion in portions])).encode()).hexdigest()[
        :16
    ]
    folder = places.work / "tokenizers" / digest
    if not (folder / TOKENIZER_FILE).exists():
        kept = choice.reasons == 0
        sizes = {
            str(language): int(choice.sizes[kept & (candidates.languages == language)].sum())
            for language in np.unique(candidates.languages[kept]).tolist()
        }
        texts = sample_texts(portions, sizes, spec.sample_mb * 1e6)
        data = learn_bpe(texts, spec.vocab_size)
        write_whole(folder / TOKENIZER_FILE, json.dumps(data, ensure_ascii=False).encode())
    return folder


def _tally_before(folder: Path) -> Tally:
    """A unit's counts without what it kept: whether that stays is decided later."""
    tally = Tally.from_json((folder / clean.TALLY_FILE).read_bytes())
    tally.counts = {key: count for key, count in tally.counts.items() if key[0] != "kept"}
    return tally


def _forget_old_work(work: Path, folders: Sequence[Path], encoded: Sequence[Path]) -> None:
    """Remove what earlier recipes left in the work folder."""
    current = {*folders, *encoded}
    for path in [*(work / "clean").iterdir(), *(work / "tokens").iterdir()]:
        if path not in current:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# ---- workers --------------------------------------------------------------------------------------


def _do_all(what: str, tasks: Sequence[Task], n_workers: int, quiet: bool) -> None:
    """Call each task's function with its arguments, in `n_workers` processes, or here if it is one."""
    with progress(what, len(tasks), "packages", quiet or not tasks) as advance:
        if n_workers == 1 or len(tasks) < 2:
            for call, arguments in tasks:
                call(*arguments)
                advance(1)
            return
        pool = ProcessPoolExecutor(
            n_workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )
        try:
            for done in as_completed([pool.submit(call, *arguments) for call, arguments in tasks]):
                done.result()
                advance(1)
        finally:
            pool.shutdown(cancel_futures=True)


def _n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(parent: int) -> None:
    """A worker's start: one thread of its own, and no life after its parent's."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _timed(built: Built, step: str, quiet: bool) -> Iterator[None]:
    started = time.perf_counter()
    yield
    built.seconds[step] = round(time.perf_counter() - started, 1)
    if not quiet:
        note(f"{step}: {built.seconds[step]:,.1f} s")
