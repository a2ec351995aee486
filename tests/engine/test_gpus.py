from pathlib import Path

import pytest
import torch

from xgen.engine import gpus as module
from xgen.engine.gpus import Gpu, gpus
from xgen.engine.kernels.compiled import CannotCompile


def test_without_a_gpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus() == []


def test_each_gpu_is_told_with_its_type_and_its_free_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    compiled = []

    def cubin(part, defines, capability):
        compiled.append((part, "FP16" in defines, capability))
        if capability == (7, 5):
            raise CannotCompile("CUDA", "its compiler NVRTC is not here", "install nvidia-cuda-nvrtc")
        return b""

    monkeypatch.setattr(module, "cubin", cubin)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_capability": lambda device: [(9, 0), (7, 5)][device.index],
        "get_device_name": lambda device: ["H100", "T4"][device.index],
        "mem_get_info": lambda device: [(70, 80), (9, 16)][device.index],
        "memory_reserved": lambda device: 5,
        "memory_allocated": lambda device: 3,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    why = "CUDA: its compiler NVRTC is not here; install nvidia-cuda-nvrtc."
    assert gpus() == [Gpu("H100", "bf16", 72, 80, None), Gpu("T4", "fp16", 11, 16, why)]
    assert compiled == [("rows", False, (9, 0)), ("rows", True, (7, 5))]
