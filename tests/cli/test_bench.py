import json
from collections.abc import Callable

import pytest
import torch

from xgen.engine.gpus import Gpu
from xgen.engine.machine import Choice


def test_it_says_what_was_chosen_over_what(run_xgen: Callable) -> None:
    found = json.loads(run_xgen("bench", "--machine", "--json").out)
    assert found["dtype"] in ("bfloat16", "float32")
    assert found["trial_s"][f"128 rows, {found['dtype']}"] == min(
        found["trial_s"][f"128 rows, {other}"] for other in ("bfloat16", "float32")
    )
    shown = run_xgen("bench", "--machine").out
    for part in (found["processor"], f"products in {found['dtype']}", "128 rows, float32", "1 rows, int8"):
        assert part in shown


def test_it_says_what_gpus_there_are(run_xgen: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Gpu("H100", "bf16", 72 * 10**9, 80 * 10**9, None), Gpu("T4", "fp16", 9, 16, "NVRTC is not here")]
    monkeypatch.setattr("xgen.engine.gpus.gpus", lambda: found)
    shown = run_xgen("bench", "--machine").out
    assert "cuda:0: H100, bf16, 72.0 of 80.0 GB free, kernels of our own" in shown
    assert "torch's kernels alone: NVRTC is not here" in shown
    told = json.loads(run_xgen("bench", "--machine", "--json").out)["gpus"]
    assert [gpu["name"] for gpu in told] == ["H100", "T4"]


def test_without_a_thing_to_measure_it_says_so(run_xgen: Callable) -> None:
    ended = run_xgen("bench")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("xgen: bench: nothing to measure is named; ")


@pytest.mark.parametrize(("what", "kind"), [("prefill", "fp32"), ("decode", "int8")])
def test_a_shape_reads_and_writes_beside_the_machines_ceilings(
    run_xgen: Callable, what: str, kind: str
) -> None:
    words = ("--shape", "tiny", "--dtype", kind, "--cache", kind, "--context", "96", "--device", "cpu")
    found = json.loads(run_xgen("bench", what, *words, "--tokens", "8", "--json").out)
    n_done = 96 if what == "prefill" else 8
    assert found["tokens_per_s"] == pytest.approx(n_done / sorted(found["rounds_s"])[2])
    assert (found["weights"], found["cache"], found["context"]) == (kind, kind, 96)
    assert min(found[name] for name in ("copy_bytes_per_s", "product_flops_per_s", "first_s", "load_s")) > 0
    # a tiny shape's time is that of calls: far from what the memory or the products allow, never beyond
    assert 0 < found["share"] < 1


@pytest.mark.parametrize(("free", "through"), [(10**12, "int8"), (600_000, "fp32")])
def test_tokens_pass_through_copies_as_they_do_in_a_model(
    run_xgen: Callable, monkeypatch: pytest.MonkeyPatch, free: int, through: str
) -> None:
    choice = Choice(torch.float32, 4, {})
    monkeypatch.setattr("xgen.bundle.loading.choice_for", lambda device: choice)
    monkeypatch.setattr("xgen.engine.free.free_bytes", lambda device: free)
    words = ("--shape", "tiny", "--context", "16", "--tokens", "2", "--device", "cpu")
    ended = run_xgen("bench", "decode", *words, "--json")
    found = json.loads(ended.out)
    assert (found["weights"], found["tokens_pass_through"]) == ("fp32", through)
    assert ("find no room" in ended.err) == (through == "fp32")
    assert json.loads(run_xgen("bench", "prefill", *words, "--json").out)["tokens_pass_through"] == "fp32"


def test_a_measured_shape_is_a_table_for_people(run_xgen: Callable) -> None:
    words = ("--shape", "tiny", "--dtype", "bf16", "--context", "16", "--tokens", "2", "--device", "cpu")
    shown = run_xgen("bench", "decode", *words)
    for part in ("decode of tiny in bf16, fp32 cache, on cpu", "tokens a second", "copy, GB/s"):
        assert part in shown.out
    assert shown.err.startswith("tiny: bf16 weights 0.2 MB, fp32 cache of 19 tokens 9.7 kB, to read ")
    assert "decode: 6 times in " in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shape", "gpt-5"), "shape 'gpt-5': it is not known; use xgen-7b, "),
        (("--shape", "tiny", "--context", "1025"), "--context 1025: tiny's window is 1,024 tokens; "),
    ],
)
def test_a_shape_that_is_unknown_or_a_text_that_is_too_long_is_refused(
    run_xgen: Callable, words: tuple[str, ...], said: str
) -> None:
    ended = run_xgen("bench", "decode", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"xgen: {said}")
