"""Two processes do what one does: the same rows, the same losses to fp32 rounding, the same checkpoints."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from xgen.errors import BadRecipe
from xgen.train import loop
from xgen.train.held_out import scorer
from xgen.train.parallel import World
from xgen.train.recipe import recipe_from
from xgen.train.start import begin, shape_of

from .conftest import begin_job, metrics_of

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from xgen.data.plan import plan_run
from xgen.data.shards import open_corpus
from xgen.train import loop
from xgen.train.held_out import scorer
from xgen.train.parallel import join_world, leave_world
from xgen.train.recipe import recipe_from
from xgen.train.start import begin, shape_of

corpus, out = open_corpus(Path(sys.argv[2])), Path(sys.argv[4])
recipe = recipe_from(json.loads(sys.argv[3]), "recipe")
world = join_world("cpu")
shape = shape_of(recipe, corpus.vocab_size)
plans = plan_run(corpus, recipe.stages, recipe.seed, recipe.tokens_per_step)
job = loop.Job(recipe, shape, corpus, plans, out, world, 0.0)
run = begin(recipe, shape, world)
read, step_rows = [], loop.step_rows
loop.step_rows = lambda row, *rest: step_rows(lambda index: (read.append(index), row(index))[1], *rest)
loop.train(job, run, scorer(recipe, shape, corpus, world.device))
(out / f"rows-{world.rank}.json").write_text(json.dumps(read))
torch.save({name: part for name, part in run.weights.whole()}, out / f"weights-{world.rank}.pt")
del run
leave_world(world)
"""


def start_two(corpus, table, out: Path) -> list[subprocess.Popen[str]]:
    root = str(Path(__file__).parents[2])
    words = [sys.executable, "-c", SCRIPT, root, str(corpus.folder), json.dumps(table), str(out)]
    out.mkdir(exist_ok=True)
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    common["MASTER_PORT"] = str(20_000 + os.getpid() % 20_000)
    return [
        subprocess.Popen(words, env={**common, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]


def two_processes(corpus, table, out: Path) -> None:
    for process in start_two(corpus, table, out):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-3000:]


def test_against_one_process_two_read_the_same_and_lose_the_same(corpus, recipe_table, tmp_path) -> None:
    table = recipe_table()
    job, run = begin_job(corpus, recipe_from(table, "recipe"), tmp_path / "one")
    assert loop.train(job, run, scorer(job.recipe, job.shape, corpus, job.world.device))
    two_processes(corpus, table, tmp_path / "two")
    mine, other = ((tmp_path / name / "held_out.jsonl").read_text() for name in ("one", "two"))
    _same_scores(
        [json.loads(line) for line in mine.splitlines()], [json.loads(line) for line in other.splitlines()]
    )
    ours, theirs = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert [line["trained_tokens"] for line in ours] == [line["trained_tokens"] for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=2e-4)
    weights = torch.load(tmp_path / "two" / "weights-0.pt", weights_only=True)
    for name, part in run.weights.whole():
        torch.testing.assert_close(weights[name], part, rtol=1e-3, atol=2e-4)
    read = [json.loads((tmp_path / "two" / f"rows-{rank}.json").read_text()) for rank in range(2)]
    per_stage = [plan.n_rows for plan in job.plans]
    assert sorted(read[0] + read[1]) == sorted(index for n in per_stage for index in range(n))
    assert set(read[0][: per_stage[0] // 2]).isdisjoint(read[1][: per_stage[0] // 2])

    # Their newest checkpoint is one that a single process goes on with.
    job, run = begin_job(corpus, recipe_from(table, "recipe"), tmp_path / "two")
    assert loop.train(job, run)
    for name, part in run.weights.whole():
        assert torch.equal(weights[name], part)


def _same_scores(mine: list[dict], other: list[dict]) -> None:
    assert len(mine) == len(other) == 2
    for ours, theirs in zip(mine, other, strict=True):
        assert ours["sets"].keys() == theirs["sets"].keys() != set()
        for name, score in ours["sets"].items():
            assert theirs["sets"][name]["nats_per_token"] == pytest.approx(score["nats_per_token"], rel=1e-3)
        assert [one["tokens"] for one in ours["positions"]] == [one["tokens"] for one in theirs["positions"]]


def test_every_row_of_a_step_is_read_by_one_process() -> None:
    for size in (1, 2, 3, 4):
        shares = [list(World(rank, size, torch.device("cpu")).share(range(12, 24))) for rank in range(size)]
        assert sorted(index for share in shares for index in share) == list(range(12, 24))


def test_a_stop_that_one_process_hears_of_stops_both_after_the_same_step(
    corpus, recipe_table, tmp_path
) -> None:
    table = recipe_table()
    table["stage"] = [table["stage"][0] | {"tokens": 400_000, "max_epochs": 1000.0}]
    out = tmp_path / "two"
    processes = start_two(corpus, table, out)
    until = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors[-3000:]
    steps = len(metrics_of(out))
    assert 0 < steps < 400_000 // 256
    assert (out / f"checkpoint-{steps:08d}").is_dir()


def test_rows_that_cannot_be_shared_evenly_are_refused(corpus, recipe_table) -> None:
    recipe = recipe_from(recipe_table(), "recipe")
    with pytest.raises(BadRecipe, match=r"the 4 rows of a step of stage short .* by 3 processes"):
        begin(recipe, shape_of(recipe, corpus.vocab_size), World(0, 3, torch.device("cpu")))
