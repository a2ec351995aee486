"""Runs: that they learn, that being stopped or killed leaves no trace, that outlier steps leave none."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from xgen.errors import XgenError
from xgen.train import loop
from xgen.train.recipe import recipe_from
from xgen.train.rows import StepRows

from .conftest import begin_job, metrics_of


def whole_run(
    corpus, table: dict[str, Any], out: Path
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and metrics of a run from wherever `out` stands to its end."""
    job, run = begin_job(corpus, recipe_from(table, "recipe"), out)
    assert loop.train(job, run)
    return {name: part.clone() for name, part in run.weights.whole()}, metrics_of(out)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns(corpus, recipe_table, tmp_path) -> None:
    _, metrics = whole_run(corpus, recipe_table(), tmp_path)
    losses = [line["loss"] for line in metrics]
    assert losses[0] == pytest.approx(5.7, abs=0.3), "fresh weights know nothing: ln of the vocabulary"
    assert sum(losses[-3:]) / 3 < 3.5
    assert [line["step"] for line in metrics] == list(range(1, len(metrics) + 1))
    assert {line["stage"] for line in metrics} == {"short", "long"}


@pytest.mark.parametrize("crash_at", [3, 7, 11, 12, 13, 20])
def test_law_a_run_that_broke_off_goes_on_bit_for_bit(
    corpus, recipe_table, tmp_path, monkeypatch, crash_at
) -> None:
    """12 steps of the first stage: breaks before a checkpoint, at one, at the stage's boundary, behind it."""
    expected = whole_run(corpus, recipe_table(), tmp_path / "straight")
    calls = 0
    step = loop.step

    def breaks(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == crash_at:
            raise RuntimeError("the power went")
        return step(*args)

    monkeypatch.setattr(loop, "step", breaks)
    job, run = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path / "broken")
    with pytest.raises(RuntimeError, match="the power went"):
        loop.train(job, run)
    monkeypatch.setattr(loop, "step", step)
    weights, metrics = whole_run(corpus, recipe_table(), tmp_path / "broken")
    assert metrics == expected[1]
    assert same(weights, expected[0])


@pytest.mark.parametrize("kind", ["not a number", "large"])
def test_law_an_outlier_step_equals_a_batch_that_never_was(
    corpus, recipe_table, tmp_path, monkeypatch, kind
) -> None:
    """Step 35 has a batch of its own put in front of it: the rest must not know."""
    table = recipe_table(optimizer={"spike_window": 16})
    table["stage"][0]["tokens"] = 10_000
    expected, _ = whole_run(corpus, table, tmp_path / "without")
    step = loop.step
    calls = 0

    def with_outlier(run, batches, n_trained, rates, world):
        nonlocal calls
        calls += 1
        if calls == 35:
            if kind == "not a number":
                bad = step_with_nan(run, batches, n_trained, rates, world)
            else:
                bad = step(run, upside_down(batches), n_trained, rates, world)
            assert bad[3] == 0, "the guard let it through"
        return step(run, batches, n_trained, rates, world)

    def step_with_nan(run, batches, n_trained, rates, world):
        original = loop_cross_entropy(monkeypatch, float("nan"))
        try:
            return step(run, batches, n_trained, rates, world)
        finally:
            original()

    monkeypatch.setattr(loop, "step", with_outlier)
    weights, _ = whole_run(corpus, table, tmp_path / "with")
    assert calls > 35
    assert same(weights, expected)


def loop_cross_entropy(monkeypatch, factor: float):
    """Multiply every loss by `factor`; returns what undoes it."""
    from xgen.model import transformer as module

    original = module.cross_entropy
    monkeypatch.setattr(module, "cross_entropy", lambda *args: original(*args) * factor)
    return lambda: monkeypatch.setattr(module, "cross_entropy", original)


def upside_down(batches):
    """Targets that nothing led to: a loss far above what the run has seen."""
    return tuple(
        dataclasses.replace(batch, targets=torch.where(batch.targets >= 0, 299 - batch.targets, -1))
        for batch in batches
    )


def test_an_outlier_is_counted_and_its_documents_named(
    corpus, recipe_table, tmp_path, monkeypatch, capsys
) -> None:
    original = loop.step_rows

    def one_bad(row, step, *rest) -> StepRows:
        rows = original(row, step, *rest)
        return dataclasses.replace(rows, batches=upside_down(rows.batches)) if step == 35 else rows

    monkeypatch.setattr(loop, "step_rows", one_bad)
    table = recipe_table(optimizer={"spike_window": 16})
    table["stage"][0]["tokens"] = 10_000
    _, metrics = whole_run(corpus, table, tmp_path)
    assert [line["step"] for line in metrics if not line["accepted"]] == [36]
    told = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [one["step"] for one in told] == [36]
    known = {record.id for record in corpus.sets["prose.en"].documents()}
    assert {one["id"] for one in told[0]["documents"]} <= known
    assert told[0]["documents"]
    assert "step 36: skipped" in capsys.readouterr().err


def test_another_recipe_does_not_go_on_with_the_run(corpus, recipe_table, tmp_path) -> None:
    whole_run(corpus, recipe_table(), tmp_path)
    job, run = begin_job(corpus, recipe_from(recipe_table(seed=4), "recipe"), tmp_path)
    with pytest.raises(XgenError, match="had another recipe"):
        loop.train(job, run)


def test_what_is_only_told_may_change_between_two_starts(corpus, recipe_table, tmp_path) -> None:
    job, _ = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path)
    more_often = recipe_table(log_steps=1, checkpoint_steps=3, held_out_tokens=0, card={"title": "another"})
    other, _ = begin_job(corpus, recipe_from(more_often, "recipe"), tmp_path)
    assert other.identity == job.identity
    another, _ = begin_job(corpus, recipe_from(recipe_table(dtype="bf16"), "recipe"), tmp_path)
    assert another.identity != job.identity


def test_law_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_taken(
    corpus, recipe_table, tmp_path, capsys
) -> None:
    weights, metrics = whole_run(corpus, recipe_table(), tmp_path)
    before, newest = sorted(tmp_path.glob("checkpoint-*"))
    for file, change in (
        ("state.safetensors", lambda data: data[: len(data) // 2]),
        ("state.safetensors", lambda data: data[:9999] + bytes([data[9999] ^ 1]) + data[10_000:]),
        ("state.json", lambda data: data.replace(b'"step": 2', b'"step": 1')),
        ("state.json", lambda data: b""),
    ):
        data = (newest / file).read_bytes()
        (newest / file).write_bytes(change(data))
        assert (newest / file).read_bytes() != data
        again = whole_run(corpus, recipe_table(), tmp_path)
        assert same(again[0], weights)
        assert again[1] == metrics
        said = capsys.readouterr().err.replace("\n", " ")
        assert f"now damaged-{newest.name}: going on from {before.name} before it" in said
        assert (tmp_path / f"damaged-{newest.name}" / file).exists()
    for path in tmp_path.glob("checkpoint-*/state.json"):  # as before digests were written
        table = json.loads(path.read_text())
        del table["digest"]
        path.write_text(json.dumps(table))
    assert whole_run(corpus, recipe_table(), tmp_path)[1] == metrics, "it is whole again"
    assert "damaged" not in capsys.readouterr().err


def test_where_no_checkpoint_is_whole_it_is_one_sentence(corpus, recipe_table, tmp_path) -> None:
    whole_run(corpus, recipe_table(), tmp_path)
    found = sorted(tmp_path.glob("checkpoint-*"))
    for folder in found:
        with (folder / "state.safetensors").open("r+b") as file:
            file.truncate(1000)
    job, run = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path)
    with pytest.raises(XgenError, match=rf"{found[-1].name}: the checkpoint is damaged"):
        loop.train(job, run)
    assert sorted(tmp_path.glob("checkpoint-*")) == found


def test_a_full_disk_is_one_sentence(corpus, recipe_table, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("xgen.train.state.save_file", full)
    job, run = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path)
    with pytest.raises(XgenError, match=r"no checkpoint can be written .*No space left"):
        loop.train(job, run)
    assert not [*tmp_path.glob("*checkpoint*")]


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from tests.train.conftest import begin_job
from xgen.data.shards import open_corpus
from xgen.train import loop, state
from xgen.train.recipe import recipe_from
import json
table, out, dies_writing = json.loads(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
save = state.save_file
def dies(tensors, path):
    global dies_writing
    dies_writing -= 1
    save(tensors, path)
    if dies_writing == 0:
        with open(path, "r+b") as file:
            file.truncate(5000)
        os.kill(os.getpid(), signal.SIGKILL)
state.save_file = dies
job, run = begin_job(open_corpus(Path(sys.argv[2])), recipe_from(table, "recipe"), out)
print("begun", flush=True)
assert loop.train(job, run)
"""


def test_law_killed_at_random_and_while_it_writes_it_goes_on_bit_for_bit(
    corpus, recipe_table, tmp_path
) -> None:
    table = recipe_table()
    torch.set_num_threads(1)
    expected = whole_run(corpus, table, tmp_path / "straight")
    out = tmp_path / "killed"
    dice = random.Random(5)
    root = str(Path(__file__).parents[2])
    for attempt in range(8):
        dies_writing = {0: 1, 1: 2}.get(attempt, 0)
        words = [sys.executable, "-c", SCRIPT, root, str(corpus.folder), json.dumps(table), str(out)]
        process = subprocess.Popen([*words, str(dies_writing)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        if not dies_writing and attempt < 4:
            time.sleep(dice.uniform(0.0, 0.4))
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert metrics_of(out) == expected[1]
    weights, _ = whole_run(corpus, table, out)
    assert same(weights, expected[0])


def test_asked_to_stop_it_finishes_the_step_and_goes_on_later(
    corpus, recipe_table, tmp_path, monkeypatch
) -> None:
    expected = whole_run(corpus, recipe_table(), tmp_path / "straight")
    step = loop.step
    calls = 0

    def asks(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args)

    monkeypatch.setattr(loop, "step", asks)
    job, run = begin_job(corpus, recipe_from(recipe_table(), "recipe"), tmp_path / "stopped")
    assert not loop.train(job, run)
    assert [path.name for path in (tmp_path / "stopped").glob("checkpoint-*")] == ["checkpoint-00000005"]
    monkeypatch.setattr(loop, "step", step)
    weights, metrics = whole_run(corpus, recipe_table(), tmp_path / "stopped")
    assert metrics == expected[1]
    assert same(weights, expected[0])
