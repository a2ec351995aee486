"""The run: stage after stage, step after step, and what is written down on the way."""

import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from xgen.data.ledger import METRICS_FILE, RUN_FILE, trace
from xgen.data.plan import StagePlan
from xgen.data.shards import MANIFEST_FILE, Corpus
from xgen.files import sha256_of, write_whole
from xgen.formats.adapter import ADAPTER_WEIGHTS_FILE
from xgen.model.shape import Shape
from xgen.show import note
from xgen.train.parallel import World
from xgen.train.recipe import Recipe, Stage, adapter_on_disk
from xgen.train.rows import StepRows, ahead, step_rows
from xgen.train.schedule import learning_rates
from xgen.train.start import base_folder
from xgen.train.state import Place, restore_newest, save_checkpoint, truncate_metrics
from xgen.train.step import METRICS, Training, step
from xgen.train.teacher import find_teacher

SKIPPED_FILE = "skipped.jsonl"

_TOLD = ("checkpoint_steps", "log_steps", "held_out_tokens", "card")
"""Fields of a recipe that change nothing of what is computed."""

Evaluate = Callable[[Training, Stage], dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A run as it is planned: the recipe, what its stages read, where it writes, who computes it.

    `flops_per_s` is what the device's matrix products reach (0: not measured), for `mfu`.
    """

    recipe: Recipe
    shape: Shape
    corpus: Corpus
    plans: tuple[StagePlan, ...]
    out: Path
    world: World
    flops_per_s: float

    def n_steps(self, stage: int) -> int:
        """Steps of one stage."""
        return self.plans[stage].n_rows // self.recipe.rows_per_step(self.recipe.stages[stage])

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(map(self.n_steps, range(len(self.plans))))

    @cached_property
    def identity(self) -> str:
        """Tells this run from those that read or compute something else; what is only told may change."""
        recipe = {key: value for key, value in asdict(self.recipe).items() if key not in _TOLD}
        base = sorted(base_folder(self.recipe).glob("*.safetensors")) if self.recipe.base else []
        teacher = find_teacher(self.recipe.teacher).files if self.recipe.teacher else []
        adapter = self.recipe.adapter
        start = [adapter_on_disk(adapter.start) / ADAPTER_WEIGHTS_FILE] if adapter and adapter.start else []
        told = {
            "recipe": recipe,
            "corpus": sha256_of(self.corpus.folder / MANIFEST_FILE),
            "base": [sha256_of(path) for path in [*base, *teacher, *start]],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def train(job: Job, run: Training, evaluate: Evaluate | None = None) -> bool:
    """Bring `run` from where its folder left it to the end of its last stage; True if it got there.

    False if it was asked to stop (Ctrl-C, SIGTERM): the step was finished and a checkpoint written; several
    processes finish the steps up to the next line of the log.
    `evaluate` is called at the end of each stage; what it returns goes to held_out.jsonl.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    place = restore_newest(run, job.out, job.identity, job.world) or Place(0, 0, 0)
    if place.step and job.world.is_first:
        note(f"{place.step:,} of {job.total_steps:,} steps were done before")
    log = Log(job, place)
    with _asked_to_stop() as stopped:
        for index in range(place.stage, len(job.plans)):
            place = _stage(job, run, replace(place, stage=index), log, stopped)
            if place.stage_step < job.n_steps(index):
                log.flush()
                _save(job, run, place)
                return False
            if evaluate is not None:
                log.held_out(place, evaluate(run, job.recipe.stages[index]))
            place = Place(place.step, index + 1, 0)
            _save(job, run, place)
    return True


def _stage(job: Job, run: Training, place: Place, log: "Log", stopped: Callable[[], bool]) -> Place:
    """Run one stage from `place` to its end, or until a stop is asked for; returns where it stands then."""
    recipe, stage, plan = job.recipe, job.recipe.stages[place.stage], job.plans[place.stage]
    n_steps = job.n_steps(place.stage)
    if place.stage_step == 0:
        run.guard.forget()
        run.applied.zero_()
    rates = learning_rates(stage.learning_rate, n_steps, recipe.tokens_per_step).to(job.world.device)
    rows_at_once = max(1, recipe.tokens_per_micro_step // stage.length)
    rows_per_step = recipe.rows_per_step(stage)

    def make(index: int) -> StepRows:
        return step_rows(lambda row: plan.row(job.corpus, row), index, rows_per_step, rows_at_once, job.world)

    for index, rows in ahead(range(place.stage_step, n_steps), make):
        metrics = step(run, rows.batches, rows.n_trained, rates, job.world)
        place = Place(place.step + 1, place.stage, index + 1)
        log.add(place, metrics, rows)
        is_told = place.step % recipe.log_steps == 0 or index + 1 == n_steps
        if is_told:
            log.flush()
        if place.step % recipe.checkpoint_steps == 0 and index + 1 < n_steps:
            log.flush()
            _save(job, run, place)
        # Processes must stop after the same step; they ask one another where the host waits anyway.
        if (is_told or job.world.size == 1) and job.world.any(stopped()):
            break
    return place


def _save(job: Job, run: Training, place: Place) -> None:
    save_checkpoint(run, place, job.out, job.identity, job.world)


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM finish the step instead of ending it; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever called us deals with signals
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Log:
    """Metrics wait on the device until a line is due, then go to metrics.jsonl, skipped.jsonl, the screen."""

    def __init__(self, job: Job, place: Place) -> None:
        """Lines after `place` are of steps that will be computed again, and go."""
        self.job = job
        self._waiting: list[tuple[Place, Tensor, StepRows]] = []
        self._since = time.perf_counter()
        if job.world.is_first:
            for name in (METRICS_FILE, SKIPPED_FILE, "held_out.jsonl"):
                truncate_metrics(job.out / name, place)
            table = {
                "corpus": str(job.corpus.folder.resolve()),
                "corpus_sha256": sha256_of(job.corpus.folder / MANIFEST_FILE),
                "seed": job.recipe.seed,
                "tokens_per_step": job.recipe.tokens_per_step,
                "stages": [asdict(stage) for stage in job.recipe.stages],
                "recipe": asdict(job.recipe),
            }
            write_whole(job.out / RUN_FILE, json.dumps(table, indent=2).encode() + b"\n")

    def add(self, place: Place, metrics: Tensor, rows: StepRows) -> None:
        """A step's metrics, still on the device."""
        self._waiting.append((place, metrics, rows))

    def flush(self) -> None:
        """Bring what waits to the host, at once, and write it down."""
        if not self._waiting:
            return
        values = torch.stack([metrics for _, metrics, _ in self._waiting]).tolist()
        seconds = (time.perf_counter() - self._since) / len(values)
        if self.job.world.is_first:
            lines = []
            for (place, _, rows), numbers in zip(self._waiting, values, strict=True):
                entry = self._entry(place, dict(zip(METRICS, numbers, strict=True)), rows, seconds)
                lines.append(json.dumps(entry) + "\n")
                if not entry["accepted"]:
                    self._skipped(place, entry)
            with (self.job.out / METRICS_FILE).open("a", encoding="utf-8") as file:
                file.writelines(lines)
            self._say(entry)
        self._waiting.clear()
        self._since = time.perf_counter()

    def held_out(self, place: Place, scores: dict[str, Any]) -> None:
        """Write down what was measured on held-out documents."""
        if self.job.world.is_first:
            with (self.job.out / "held_out.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": place.step, **scores}) + "\n")
        self._since = time.perf_counter()

    def _entry(
        self, place: Place, metrics: dict[str, float], rows: StepRows, seconds: float
    ) -> dict[str, Any]:
        job = self.job
        tokens_per_s = job.recipe.tokens_per_step / seconds
        reached = job.world.size * rows.flops(job.shape) / seconds
        ceiling = job.world.size * job.flops_per_s
        return {
            "step": place.step,
            "stage": job.recipe.stages[place.stage].name,
            **metrics,
            "accepted": bool(metrics["accepted"]),
            "trained_tokens": int(metrics["trained_tokens"]),
            "tokens_per_s": round(tokens_per_s),
            "mfu": round(reached / ceiling, 4) if ceiling else None,
            "seconds": seconds,
        }

    def _skipped(self, place: Place, entry: dict[str, Any]) -> None:
        """An outlier step: its documents, by name."""
        job, stage = self.job, self.job.recipe.stages[place.stage]
        n_rows = job.recipe.rows_per_step(stage)
        rows = range((place.stage_step - 1) * n_rows, place.stage_step * n_rows)
        read = [asdict(one) for one in trace(job.corpus, job.plans[place.stage], rows)]
        told = {key: entry[key] for key in ("step", "stage", "loss", "grad_norm")}
        with (job.out / SKIPPED_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**told, "documents": read}) + "\n")
        note(
            f"step {place.step}: skipped, loss {entry['loss']:.3f}, grad_norm {entry['grad_norm']:.3g}; "
            f"its {len(read)} documents are named in {job.out / SKIPPED_FILE}"
        )

    def _say(self, entry: dict[str, Any]) -> None:
        left = (self.job.total_steps - entry["step"]) * entry["seconds"]
        mfu = "" if entry["mfu"] is None else f"  mfu {100 * entry['mfu']:.0f}%"
        note(
            f"{entry['stage']} {entry['step']:,}/{self.job.total_steps:,}  loss {entry['loss']:.4f}  "
            f"grad_norm {entry['grad_norm']:.3f}  lr {entry['learning_rate']:.2e}  "
            f"{entry['tokens_per_s']:,} tok/s{mfu}  {_time(left)} left"
        )


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
