"""`xgen train`: a recipe becomes a model folder; the same command goes on where it was stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xgen.cli.extras import require_extra
from xgen.cli.options import Device, Json
from xgen.cli.printing import print_table, print_text
from xgen.errors import BadCorpus, XgenError
from xgen.files import cache_folder, held_alone
from xgen.show import note, print_json

if TYPE_CHECKING:
    from xgen.model.shape import Shape
    from xgen.train.forecast import Trial
    from xgen.train.loop import Job
    from xgen.train.recipe import Recipe

INTERRUPTED = 130
"""What a shell calls a command that Ctrl-C ended."""

RANKS = (1, 2, 4, 8, 16, 32, 64)


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", show_default=False, help="A recipe, in TOML.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder; DIR/model is what comes out.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The corpus, if not the one of that name in the cache.")
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the run would take: memory, time, tokens.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model by a recipe, or go on with a run that was stopped.

    DIR holds checkpoints, metrics.jsonl, what was skipped, and at the end model/, an ordinary model folder.
    With several GPUs: torchrun --nproc-per-node N -m xgen train ...
    """
    require_extra("train", "pydantic")
    from xgen.train.recipe import load_recipe

    read = load_recipe(recipe)
    if dry_run:
        _dry_run(read, corpus, as_json)
        return
    if out is None:
        raise XgenError("--out", "a run needs a folder", "add --out DIR, or --dry-run to see what it takes")
    folder = corpus_folder(read.corpus, corpus)
    # Of the processes that torchrun starts for one run, the first writes.
    is_first = os.environ.get("RANK", "0") == "0"
    with _own(out) if is_first else nullcontext():
        finished = _run(read, folder, out, device, as_json)
    if not finished:
        raise typer.Exit(INTERRUPTED)


def corpus_folder(name: str, given: Path | None) -> Path:
    """Where a recipe's corpus is: `given`, or by its name in the cache folder. Raises BadCorpus."""
    folder = given or cache_folder() / "corpora" / name
    if not (folder / "manifest.json").is_file():
        way_out = f"xgen data build recipes/corpus-{name}.toml, or name its folder with --corpus"
        raise BadCorpus(str(folder), "there is no corpus", way_out)
    return folder


@contextmanager
def _own(out: Path) -> Iterator[None]:
    """Hold the folder of a run for this process; XgenError if it is not for us to write in."""
    from xgen.train.start import require_own

    require_own(out)
    with held_alone(out / ".lock", str(out), "another process trains in it now"):
        yield


def _run(recipe: "Recipe", folder: Path, out: Path, device: str, as_json: bool) -> bool:
    """Train, or go on; False if the run was asked to stop."""
    # cuBLAS sums in one order only if it is told so before it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from xgen.data.plan import plan_run
    from xgen.data.shards import open_corpus
    from xgen.train.forecast import matrix_ceiling, try_longest_rows
    from xgen.train.held_out import scorer
    from xgen.train.loop import Job, train
    from xgen.train.parallel import join_world, leave_world
    from xgen.train.start import begin, shape_of, write_outcome
    from xgen.train.state import stages_done

    opened = open_corpus(folder, check=True)
    shape = shape_of(recipe, opened.vocab_size)
    plans = plan_run(opened, recipe.stages, recipe.seed, recipe.tokens_per_step)
    world = join_world(device)
    run = begin(recipe, shape, world)
    dtype = torch.bfloat16 if recipe.dtype == "bf16" else torch.float32
    is_done = stages_done(out) == len(plans)
    job = Job(
        recipe, shape, opened, plans, out, world, 0.0 if is_done else matrix_ceiling(world.device, dtype)
    )
    if not is_done:
        _tell_forecast(job, try_longest_rows(recipe, run, world))
    score = scorer(recipe, shape, opened, world.device) if recipe.held_out_tokens else None
    finished = train(job, run, score)
    masters = {name: part.cpu() for name, part in run.weights.whole() if world.is_first}
    if world.is_first:
        made = write_outcome(recipe, shape, opened, masters, out) if finished else None
        _tell(job, made, as_json)
    del run, masters
    leave_world(world)
    return finished


def _tell_forecast(job: "Job", trials: "list[Trial]") -> None:
    recipe = job.recipe
    seconds = sum(trial.seconds_per_step * job.n_steps(index) for index, trial in enumerate(trials))
    peak = max((trial.peak_bytes or 0 for trial in trials), default=0)
    held = f", at most {peak / 1e9:.1f} GB on the device" if peak else ""
    if job.world.is_first:
        note(
            f"{recipe.name}: {job.shape.n_parameters:,} parameters, {job.total_steps:,} steps of "
            f"{recipe.tokens_per_step:,} tokens, about {seconds / 60:.1f} min{held}"
        )


def _tell(job: "Job", made: Path | None, as_json: bool) -> None:
    if as_json:
        print_json({"finished": made is not None, "run": str(job.out), "made": made and str(made)})
    elif made is None:
        print_text(f"stopped; the same command goes on from the last checkpoint in {job.out}")
    elif job.recipe.adapter:
        print_text(f"{made} is an adapter: xgen read FILE --model {job.recipe.base} --adapter {made}")
    else:
        print_text(f"{made} is a model folder: xgen read FILE --model {made}")


def _dry_run(recipe: "Recipe", corpus: Path | None, as_json: bool) -> None:
    from xgen.data.shards import open_corpus
    from xgen.train.forecast import USUAL_SHARE, memory_per_rank, stage_forecasts
    from xgen.train.start import shape_of

    fixed = recipe.base or (recipe.shape and recipe.shape.vocab_size)
    known = None if fixed else open_corpus(corpus_folder(recipe.corpus, corpus)).vocab_size
    shape = shape_of(recipe, known)
    _check_on_meta(shape)
    stages = stage_forecasts(recipe, shape)
    memory = {ranks: memory_per_rank(recipe, shape, ranks) for ranks in RANKS}
    if as_json:
        per_rank = {ranks: {**asdict(one), "total": one.total} for ranks, one in memory.items()}
        facts: dict[str, Any] = {"parameters": shape.n_parameters, "memory_per_rank": per_rank}
        print_json({**facts, "stages": [asdict(one) for one in stages]})
        return
    print_text(f"{recipe.name}: {shape.n_parameters:,} parameters, {recipe.tokens_per_step:,} tokens a step")
    print_table(
        ["stage", "length", "tokens", "steps", f"H100 hours at {USUAL_SHARE:.0%} of the ceiling"],
        [
            [one.stage, f"{one.length:,}", f"{one.tokens:,}", f"{one.steps:,}", f"{one.h100_hours:,.2f}"]
            for one in stages
        ],
    )
    print_table(
        ["GPUs", "weights, gradients, moments", "activations", "memory a GPU"],
        [
            [str(ranks), *(f"{n_bytes / 1e9:,.1f} GB" for n_bytes in (one.state, one.activations, one.total))]
            for ranks, one in memory.items()
        ],
    )


def _check_on_meta(shape: "Shape") -> None:
    """Build the model without memory: its parameters are as many as the shape says."""
    import torch

    from xgen.model.transformer import Transformer

    with torch.device("meta"):
        model = Transformer(shape)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == shape.n_parameters, f"{counted} parameters, the shape says {shape.n_parameters}"
