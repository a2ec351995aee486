import json
from collections.abc import Callable
from pathlib import Path

import pytest
import read_cpu

from xgen.formats.gguf import convert


def rounds_of(prefill: float, decode: float) -> list[dict]:
    """Three rounds of an engine that takes so many seconds for 512 tokens and for one."""
    return [
        {"prefill_s": {"512": prefill * x}, "decode_s": {"512": decode * x}, "peak_mb": 100 * x}
        for x in (1.0, 2.0, 0.5)
    ]


def test_medians_and_ratios_are_of_the_best_form_of_a_peer() -> None:
    table = {
        name: read_cpu.summary(rounds_of(*times), [512])
        for name, times in {
            "ours": (1.0, 0.01),
            "transformers bf16": (2.0, 0.02),
            "transformers fp32": (4.0, 0.015),
            "llama.cpp shipped": (0.5, 0.02),
        }.items()
    }
    assert table["ours"]["prefill_tok_s"]["512"] == {"median": 512, "least": 256, "greatest": 1024}
    assert table["ours"]["peak_mb"]["median"] == 100
    assert read_cpu.ratios(table, [512]) == {
        "prefill_tok_s / transformers": {"512": 2.0},
        "decode_tok_s / transformers": {"512": 1.5},
        "prefill_tok_s / llama.cpp": {"512": 0.5},
        "decode_tok_s / llama.cpp": {"512": 2.0},
    }
    printed = "\n".join(read_cpu.lines(table, [512]))
    assert all(name in printed for name in table)
    assert "512.0 (256.0-1024.0)" in printed


def test_it_runs_on_a_model(
    make_gguf: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(make_gguf(values={"llama.context_length": 4096}), tmp_path / "tiny")
    out = tmp_path / "result.json"
    words = ["--model", str(tmp_path / "tiny"), "--transformers", "", "--lengths", "64,200", "--rounds", "1"]
    read_cpu.main([*words, "--threads", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result == json.loads(capsys.readouterr().out.splitlines()[-1])
    ours = result["table"]["ours"]
    assert set(ours["prefill_tok_s"]) == set(ours["decode_tok_s"]) == {"64", "200"}
    assert ours["attention_share"]["200"] > 0
    assert result["ceilings"]["float32_gflops"] > 0
    assert result["first_token_s"][0] > 0
