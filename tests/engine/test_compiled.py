"""The kernels compile for every GPU that is meant, where NVRTC is: no GPU is needed for that."""

import ctypes
import gc
import re
from pathlib import Path

import pytest
import torch

from xgen.engine.kernels.compiled import (
    SOURCES,
    CannotCompile,
    _compile,
    _nvrtc,
    cubin,
    macros,
    packed,
    source_of,
)
from xgen.engine.one_token import TUNINGS


@pytest.fixture(scope="module")
def nvrtc():
    try:
        return _nvrtc()
    except CannotCompile:
        pytest.skip("no NVRTC here: pip install nvidia-cuda-nvrtc")


@pytest.mark.parametrize("part", SOURCES)
@pytest.mark.parametrize(
    ("capability", "flags"),
    [((7, 5), ("FP16",)), ((7, 5), ("FP16", "INT8", "INT8_CACHE")), ((9, 0), ()), ((9, 0), ("INT8",))],
)
def test_from_turing_on(nvrtc, part, capability, flags, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    cut = TUNINGS[0 if capability == (9, 0) else -1][1 + ("INT8" in flags)]
    numbers = {"HEAD_DIM": 128, "SHARED": 1, "MOST_INPUTS": 11008, "RESIDENT": 2 * cut.blocks}
    numbers |= {name.upper(): value for name, value in vars(cut).items()}
    code = cubin(part, numbers | dict.fromkeys(flags), capability)
    assert code.startswith(b"\x7fELF")
    [kept] = (tmp_path / "kernels").iterdir()
    assert kept.read_bytes() == code == cubin(part, numbers | dict.fromkeys(flags), capability)


def test_what_does_not_compile_is_said_with_the_compilers_words(nvrtc):
    with pytest.raises(CannotCompile, match='identifier "nonsense" is undefined'):
        _compile(nvrtc, "__global__ void f(int* x) { *x = nonsense; }", ["--gpu-architecture=sm_90"])
    with pytest.raises(CannotCompile, match="invalid value for --gpu-architecture"):
        _compile(nvrtc, "", ["--gpu-architecture=sm_1"])


def test_law_every_kernel_waits_for_the_one_before():
    """Without it a product's result may be read before it is whole: cuBLAS's let the next kernel start."""
    for part in SOURCES:
        kernels = re.split(r'^(?:extern "C" __global__|PRODUCT)', source_of(part), flags=re.M)[1:]
        assert len(kernels) >= 3
        for kernel in kernels:
            body = kernel.split("\n}\n")[0]
            assert re.search(r"wait_for_previous\(\);|products\(", body), body[:200]


def test_law_a_token_begins_where_the_one_before_is_whole():
    """Attention looks at the cache before it waits: the first kernel lets none start before it has waited."""
    embed = source_of("step").split(" embed(")[1].split("\n}\n")[0]
    assert embed.index("wait_for_previous();") < embed.index("let_next_start();")
    attend = source_of("step").split("\nattend(")[1].split("\n}\n")[0]
    assert attend.index("load_shared(position)") < attend.index("wait_for_previous();")


def test_law_arguments_stand_where_their_pointers_say():
    values = [7, 2.5, None, torch.arange(3), ctypes.c_longlong(1 << 40)]
    given = packed(values)
    gc.collect()
    kinds = (ctypes.c_int, ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong)
    found = [kind.from_address(at).value for kind, at in zip(kinds, given.pointers, strict=True)]
    assert found == [7, 2.5, None, values[3].data_ptr(), 1 << 40]


def test_only_macros_that_a_source_names_are_given():
    assert macros("int x = SIZE; // WIDE", {"SIZE": 3, "WIDE": None, "OTHER": 1}) == ["-DSIZE=3", "-DWIDE"]
