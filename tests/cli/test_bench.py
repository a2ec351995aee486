import json
from collections.abc import Callable


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
