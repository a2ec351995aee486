import dataclasses
import os
import time
from pathlib import Path

import pytest
import torch

from xgen.engine import machine

CPU = torch.device("cpu")
BF16, FP32, INT8 = torch.bfloat16, torch.float32, torch.int8


def times(monkeypatch, seconds):
    monkeypatch.setattr(machine, "_product_s", lambda n_rows, dtype: seconds[dtype](n_rows))


@pytest.mark.parametrize("faster", [BF16, FP32])
def test_the_faster_type_is_taken(faster, monkeypatch):
    times(monkeypatch, {kind: lambda n, s=1 + (kind != faster): s for kind in (BF16, FP32, INT8)})
    assert machine.choose(CPU).dtype == faster


@pytest.mark.parametrize(("slower_from", "rows"), [(1, 0), (4, 1), (16, 4), (17, 16)])
def test_8_bits_serve_as_many_rows_as_they_win(slower_from, rows, monkeypatch):
    times(monkeypatch, {BF16: lambda n: 1, FP32: lambda n: 2, INT8: lambda n: 0.5 + (n >= slower_from)})
    choice = machine.choose(CPU)
    assert (choice.dtype, choice.int8_rows) == (BF16, rows)
    assert choice.seconds["128 rows, torch.bfloat16"] == 1


def test_a_type_that_was_asked_for_stays(monkeypatch):
    times(monkeypatch, {FP32: lambda n: n, INT8: lambda n: 2})
    assert machine.choose(CPU, FP32) == machine.Choice(
        FP32, 0, {"1 rows, torch.float32": 1, "1 rows, torch.int8": 2}
    )


def test_this_machine_decides_by_itself():
    choice = machine.choose(CPU)
    assert choice.dtype in (BF16, FP32)
    assert choice.int8_rows in (0, *machine.FEW_ROWS)
    assert all(s > 0 for s in choice.seconds.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        choice.int8_rows = 1


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), BF16), ((7, 5), torch.float16)])
def test_a_card_without_bf16_takes_fp16(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert machine.choose(torch.device("cuda")) == machine.Choice(dtype, 0, {})


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """How often this machine was tried; its choices are kept in a folder of their own."""
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    times(monkeypatch, {BF16: lambda n: 1, FP32: lambda n: 2, INT8: lambda n: 0.5 + (n > 4)})
    calls, original = [], machine.choose
    monkeypatch.setattr(machine, "choose", lambda *words: calls.append(words) or original(*words))
    return calls


def test_a_machine_is_tried_once(trials, tmp_path):
    first = machine.choice_for(CPU)
    assert (first.dtype, first.int8_rows) == (BF16, 4)
    assert machine.choice_for(CPU) == first
    assert len(trials) == 1
    assert machine.choice_for(CPU, FP32).dtype == FP32
    assert machine.choice_for(CPU, anew=True) == first
    assert len(trials) == 3


def test_another_machine_is_tried_anew(trials, monkeypatch):
    machine.choice_for(CPU)
    monkeypatch.setattr(machine, "processor", lambda: "another one (AVX2)")
    machine.choice_for(CPU)
    assert len(trials) == 2


@pytest.mark.parametrize("damage", ["", "no json", "[]", '{"x": 1}', '{"x": {"dtype": "no_type"}}'])
def test_a_damaged_choice_is_made_anew(trials, damage, tmp_path):
    first = machine.choice_for(CPU)
    (tmp_path / "machine.json").write_text(damage)
    assert machine.choice_for(CPU) == first
    assert machine.choice_for(CPU) == first
    assert len(trials) == 2


def test_a_disk_that_is_full_costs_the_next_trial_only(trials, monkeypatch):
    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine, "write_whole", full)
    assert machine.choice_for(CPU) == machine.choice_for(CPU)
    assert len(trials) == 2


@pytest.mark.parametrize(
    ("all_cores", "own", "threads"), [(0, 0, 4), (4, 4, 4), (1.4, 1, 4), (1.6, 1, 3), (3, 1, 2), (8, 0, 1)]
)
def test_cores_that_others_use_are_left_to_them(all_cores, own, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    before = machine.Clock(10.0, 100.0, 5.0)
    monkeypatch.setattr(machine.Clock, "now", lambda: machine.Clock(11.0, 100.0 + all_cores, 5.0 + own))
    assert machine.leave_busy_cores(before) == threads
    assert asked == ([threads] if threads < 4 else [])
    asked.clear()
    assert machine.leave_busy_cores(None) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert machine.leave_busy_cores(before) == 4
    assert asked == []


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not tell what its cores do")
def test_own_work_is_not_taken_for_a_neighbours():
    before = machine.Clock.now()
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:
        pass
    after = machine.Clock.now()
    assert 0.2 < after.own - before.own < 0.5
    assert 0 <= after.others_since(before) < os.cpu_count()
