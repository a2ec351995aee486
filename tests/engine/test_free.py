import re
from pathlib import Path

import pytest
import torch

from xgen.bundle import load
from xgen.engine import free
from xgen.engine.free import free_bytes, held_by_others, require_cache, require_weights, told
from xgen.errors import XgenError
from xgen.model.memory import Setting
from xgen.model.shape import SHAPES

XGEN = SHAPES["xgen-7b"]
CPU = torch.device("cpu")


@pytest.fixture
def gigabytes(monkeypatch: pytest.MonkeyPatch):
    def have(n: float) -> None:
        monkeypatch.setattr(free, "free_bytes", lambda device: None if n is None else int(n * 1e9))

    return have


def test_the_system_tells_what_is_free() -> None:
    found = free_bytes(CPU)
    if not Path("/proc/meminfo").exists():
        assert found is None
    else:
        assert 1e7 < found < 1e14


def test_weights_that_do_not_fit_are_refused_with_what_does(gigabytes) -> None:
    setting = Setting("fp16", "fp16", "fp16")
    gigabytes(15.6)
    require_weights("xgen-7b", XGEN, setting, CPU)
    gigabytes(13.5)
    with pytest.raises(
        XgenError, match=r"13\.8 GB.*use --dtype int8 --cache fp16: int8 weights with a fp16 "
    ):
        require_weights("xgen-7b", XGEN, setting, CPU)
    gigabytes(8.5)
    with pytest.raises(XgenError, match=r"int8 weights with an int8 cache fit up to [45],\d\d\d tokens"):
        require_weights("xgen-7b", XGEN, setting, CPU)
    gigabytes(5)
    with pytest.raises(XgenError, match="nothing of this model fits"):
        require_weights("xgen-7b", XGEN, setting, CPU)
    gigabytes(None)
    require_weights("xgen-7b", XGEN, setting, CPU)


def test_a_cache_that_does_not_fit_is_refused_with_what_does(gigabytes) -> None:
    setting = Setting("int8", "fp16", "fp16")
    gigabytes(5)
    require_cache(XGEN, setting, 8192, CPU)
    gigabytes(3)
    with pytest.raises(
        XgenError, match=r"fp16 cache: 8,192 tokens take 4\.3 GB .*--cache int8 fits up to 8,192"
    ):
        require_cache(XGEN, setting, 8192, CPU)
    gigabytes(0.1)
    with pytest.raises(XgenError, match="use a smaller model"):
        require_cache(XGEN, setting, 8192, CPU)


def test_loading_and_reading_ask_before_they_take(tiny_folder: Path, gigabytes) -> None:
    bundle = load(tiny_folder, device="cpu", dtype="fp32", cache="int8")
    assert bundle.empty_cache(9).buffers[0][0].dtype == torch.int8
    gigabytes(1e-4)
    with pytest.raises(XgenError, match="are free on cpu"):
        bundle.empty_cache(99)
    with pytest.raises(XgenError, match="fp32 weights take"):
        load(tiny_folder, device="cpu", dtype="fp32")


def test_a_cache_is_asked_for_before_the_weights_are_there(gigabytes) -> None:
    setting = Setting("int8", "fp16", "fp16")
    gigabytes(9.9)
    require_cache(XGEN, setting, 4096, CPU, loaded=False)
    with pytest.raises(XgenError, match=r"3\.0 GB are free on cpu beside the weights; --cache int8 fits"):
        require_cache(XGEN, setting, 8192, CPU, loaded=False)
    require_cache(XGEN, setting, 8192, CPU)


def test_what_a_model_takes_is_told_part_by_part(gigabytes, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, gpu = Setting("int8", "int8", "fp16"), torch.device("cuda")
    gigabytes(20)
    said = told("xgen-7b", XGEN, setting, 8192, CPU)
    assert said.startswith("xgen-7b: int8 weights 6.9 GB, int8 cache of 8,192 tokens 2.2 GB, to read 0.")
    assert said.endswith("; 20.0 GB are free on cpu, its whole window fits")
    gigabytes(8.5)
    less = told("x", XGEN, setting, 8192, CPU)
    assert re.search(r"; 8\.5 GB are free on cpu, up to [45],\d\d\d tokens fit$", less)
    gigabytes(20)
    for others, words in ((int(6e9), "on cuda (other programs hold 6.0 GB of it)"), (9, "free on cuda")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, n=others: (int(9e9), int(17e9) + n))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(8e9))
        assert held_by_others(gpu) == others
        assert told("xgen-7b", XGEN, setting, 8192, gpu).endswith(f"{words}, its whole window fits")


def test_of_large_weights_it_is_said_before_they_are_loaded(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load(tiny_folder, device="cpu", dtype="fp32")
    assert "weights" not in capsys.readouterr().err
    monkeypatch.setattr("xgen.bundle.loading.LARGE", 1)
    load(tiny_folder, device="cpu", dtype="fp32")
    assert "fp32 weights 0." in capsys.readouterr().err
