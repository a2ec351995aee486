import json
from collections.abc import Callable

import pytest


def test_it_says_what_was_chosen_over_what(run_xgen: Callable) -> None:
    found = json.loads(run_xgen("bench", "--machine", "--json").out)
    assert found["dtype"] in ("bfloat16", "float32")
    assert found["trial_s"][f"128 rows, {found['dtype']}"] == min(
        found["trial_s"][f"128 rows, {other}"] for other in ("bfloat16", "float32")
    )
    shown = run_xgen("bench", "--machine").out
    for part in (found["processor"], f"products in {found['dtype']}", "128 rows, float32", "1 rows, int8"):
        assert part in shown


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


def test_a_measured_shape_is_a_table_for_people(run_xgen: Callable) -> None:
    words = ("--shape", "tiny", "--dtype", "bf16", "--context", "16", "--tokens", "2", "--device", "cpu")
    shown = run_xgen("bench", "decode", *words).out
    for part in ("decode of tiny in bf16, fp32 cache, on cpu", "tokens a second", "copy, GB/s"):
        assert part in shown


def test_a_shape_that_is_unknown_or_too_large_is_refused_before_it_is_made(run_xgen: Callable) -> None:
    ended = run_xgen("bench", "decode", "--shape", "gpt-5")
    assert ended.code == 2
    assert ended.err.startswith("xgen: shape 'gpt-5': it is not known; use xgen-7b, ")
