import dataclasses

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
    assert machine.choose(CPU).dtype == machine.compute_dtype(CPU) == faster


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
