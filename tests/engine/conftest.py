import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xgen.engine.kernels.compiled import Defines, macros, packed, source_of
from xgen.model.attention import attend_cpu
from xgen.model.shape import SHAPES
from xgen.model.transformer import Transformer

ON_CPU = Path(__file__).parent / "device_on_cpu.h"
NAMES = {
    "products": ("qkv", "gate_up", "add", "head"),
    "step": ("embed", "attend", "choose"),
    "rows": ("norm_rows", "place", "gated", "dense_rows"),
}


@pytest.fixture(scope="session")
def model():
    """A tiny decoder with weights large enough that every token matters."""
    torch.manual_seed(0)
    model = Transformer(SHAPES["tiny"], attend_cpu).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.normal_(std=1.5 * p.shape[-1] ** -0.5)
        model.embedding.weight.normal_()
    return model


class OnCpu:
    """Kernels compiled for the CPU, a thread of theirs after another."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def launch(self, name: str, grid: tuple[int, int], threads: int, shared_bytes: int, *given: Any) -> None:
        """As OnDevice does."""
        assert shared_bytes <= 1 << 18
        values = packed(given)  # held until the kernel has run
        assert not self._library.launch(name.encode(), *grid, threads, values.pointers)


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Defines], OnCpu]:
    """Compiles a part of the kernels for the CPU; the test skips where there is no compiler."""
    folder, compiler = tmp_path_factory.mktemp("kernels"), shutil.which("g++")
    made: dict[str, OnCpu] = {}

    def make(part: str, defines: Defines) -> OnCpu:
        if compiler is None:
            pytest.skip("no g++ here")
        words = macros(source_of(part), defines)
        key = " ".join([part, *words])
        if key not in made:
            table = "".join(f"KERNEL({name}) " for name in NAMES[part])
            given = "const char* wanted, int grid_x, int grid_y, int n_threads, void** values"
            source = folder / f"{len(made)}.cpp"
            entry = f'extern "C" int launch({given}) {{ {table} return 1; }}'
            source.write_text(f'#include "{ON_CPU}"\n{source_of(part)}\n{entry}\n')
            options = ["-std=c++17", "-O1", "-w", "-fno-gnu-unique", "-shared", "-fPIC", *words]
            subprocess.run([compiler, *options, "-o", source.with_suffix(".so"), source], check=True)
            made[key] = OnCpu(source.with_suffix(".so"))
        return made[key]

    return make
