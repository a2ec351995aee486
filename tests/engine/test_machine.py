import dataclasses
import os
import subprocess
import sys
import time

import pytest
import torch

from xgen.engine import machine

CPU = torch.device("cpu")
BF16, FP32, INT8, INT4 = torch.bfloat16, torch.float32, torch.int8, machine.INT4


def times(monkeypatch, seconds):
    seconds = {INT4: lambda n: 0.2} | seconds
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


@pytest.mark.parametrize(("int8", "int4", "pays"), [(0.6, 0.3, True), (0.6, 0.5, False), (2, 0.1, False)])
def test_4_bits_serve_where_they_win_well_over_8_that_win(int8, int4, pays, monkeypatch):
    seconds = {BF16: 1, FP32: 2, INT8: int8, INT4: int4}
    times(monkeypatch, {kind: lambda n, s=s: s for kind, s in seconds.items()})
    assert machine.choose(CPU).int4 is pays


def test_a_torch_without_4_bit_products_does_without(monkeypatch):
    def product(n_rows, dtype):
        if dtype == INT4:
            raise RuntimeError("no such product")
        return {BF16: 1, FP32: 2, INT8: 0.5}[dtype]

    monkeypatch.setattr(machine, "_product_s", product)
    assert (machine.choose(CPU).int8_rows, machine.choose(CPU).int4) == (16, False)


def test_trials_compute_in_one_thread_and_leave_the_number_as_it_was(monkeypatch):
    before, seen = torch.get_num_threads(), set()
    monkeypatch.setattr(machine, "_product_s", lambda n, kind: seen.add(torch.get_num_threads()) or 1.0)
    machine.choose(CPU)
    assert (seen, torch.get_num_threads()) == ({1}, before)


@pytest.mark.parametrize("fault", [AttributeError, RuntimeError])
def test_a_torch_without_8_bit_products_does_without(fault, monkeypatch):
    def product(n_rows, dtype):
        if dtype == INT8:
            raise fault("no such product")
        return 1 + (dtype == FP32)

    monkeypatch.setattr(machine, "_product_s", product)
    assert machine.choose(CPU) == machine.Choice(
        BF16, 0, {"128 rows, torch.bfloat16": 1, "128 rows, torch.float32": 2}
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
    assert machine.choice_for(CPU, anew=True) == first
    assert len(trials) == 2


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


@pytest.fixture
def threads(monkeypatch):
    """Four threads on six cores; grows with each number that is set."""
    asked = [4]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "all_threads", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(6), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: asked[-1])
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    return asked


def others(monkeypatch, busy, own=1.0, span=1.0):
    """Other programs have kept `busy` cores at work for `span` seconds; returns the clock before."""
    now = machine.Clock(10.0 + span, 100.0 + busy * span + own, 5.0 + own)
    monkeypatch.setattr(machine.Clock, "now", lambda: now)
    return machine.Clock(10.0, 100.0, 5.0)


@pytest.mark.parametrize(("busy", "n"), [(0, 4), (2, 4), (2.4, 4), (2.6, 3), (4, 2), (5, 1), (6, 1), (-1, 4)])
def test_cores_that_others_use_are_left_to_them(busy, n, threads, monkeypatch):
    assert machine.leave_busy_cores(others(monkeypatch, busy)) == n


def test_cores_are_taken_again_when_they_are_free(threads, monkeypatch):
    assert machine.leave_busy_cores(others(monkeypatch, 5)) == 1
    assert machine.leave_busy_cores(others(monkeypatch, 0)) == 4


def test_the_number_of_threads_stays_where_nothing_is_known_or_it_was_set(threads, monkeypatch):
    assert machine.leave_busy_cores(None) == 4
    assert machine.leave_busy_cores(others(monkeypatch, 6, span=0.1)) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert machine.leave_busy_cores(others(monkeypatch, 6)) == 4
    assert threads == [4]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what their cores do")
def test_own_work_is_not_taken_for_a_neighbours():
    before = machine.Clock.now()
    until = time.process_time() + 0.4  # of work, however long neighbours make it last
    while time.process_time() < until:
        pass
    after = machine.Clock.now()
    elapsed, own = after.wall - before.wall, after.own - before.own
    assert 0.35 < own < 0.6
    with_own = (after.cores - before.cores) / elapsed
    assert after.others_since(before) == pytest.approx(max(0.0, with_own - own / elapsed), abs=1e-9)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_products_of_ever_new_sizes_take_no_more_memory() -> None:
    """Unbounded, torch keeps 0.7 MB a size: 500 of them take 341 MB; bounded, seven runs took 33 to 62."""
    said = """if True:
        import torch
        from xgen.engine.machine import bound_kept_shapes
        bound_kept_shapes()
        def memory_mb():
            status = open("/proc/self/status").read()
            return int(status.split("VmRSS:")[1].split()[0]) / 1024
        left, right = torch.ones(700, 256).bfloat16(), torch.ones(512, 256).bfloat16()
        for n_rows in range(1, 701):
            torch.nn.functional.linear(left[:n_rows], right)
            if n_rows == 200:
                before = memory_mb()
        print(memory_mb() - before)
    """
    clean = {k: v for k, v in os.environ.items() if not k.endswith("CACHE_CAPACITY")}
    run = subprocess.run([sys.executable, "-c", said], env=clean, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 120
