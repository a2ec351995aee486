import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xgen.engine import free

TEXT = "The reader reads the document, and quotes the reader. " * 4


@pytest.fixture
def text(home: Path) -> str:
    (home / "a.txt").write_text(TEXT)
    return str(home / "a.txt")


def test_it_says_what_8_bits_change(tiny_folder: Path, text: str, run_xgen: Callable[..., Any]) -> None:
    words = (
        "check",
        str(tiny_folder),
        text,
        "--device",
        "cpu",
        "--cache",
        "int8",
        "--tokens",
        "40",
        "--continue",
        "5",
    )
    ended = run_xgen(*words)
    assert ended.code == 0
    assert "40 of" in ended.out
    assert "beside fp32 weights with a fp32 cache" in ended.out
    assert "int8 weights with an int8 cache: " in ended.out.splitlines()[-1]
    told = json.loads(run_xgen(*words, "--json").out)
    assert told["reference"] == "fp32 weights with a fp32 cache"
    assert [row["setting"].split()[0] for row in told["checked"]] == ["bf16", "int8"]
    for row in told["checked"]:
        assert row["n_tokens"] == 39
        assert 0 < row["mean_kl"] < row["max_kl"] < 0.5
        assert abs(row["perplexity_change"]) < 0.1
    verdict = "good enough here" if not told["faults"] else "not as good here"
    assert verdict in ended.out


def test_where_fp32_does_not_fit_16_bits_are_the_reference(
    tiny_folder: Path, text: str, run_xgen: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = free.free_bytes
    answers = iter([None, 1000])  # asked for the checked one, then for the reference
    monkeypatch.setattr(free, "free_bytes", lambda device: next(answers, None))
    ended = run_xgen("check", str(tiny_folder), text, "--device", "cpu", "--tokens", "20", "--json")
    assert original(free.torch.device("cpu")) != 1000
    assert "the memory does not hold fp32 beside" in ended.err
    told = json.loads(ended.out)
    assert told["reference"].startswith(("bf16", "fp16"))
    assert len(told["checked"]) == 1


def test_errors_are_one_sentence(tiny_folder: Path, home: Path, run_xgen: Callable[..., Any]) -> None:
    (home / "short.txt").write_text("a")
    (home / "d").mkdir()
    for name in ("b.txt", "c.txt"):
        (home / "d" / name).write_text("two of them")
    for file, said in (("no.txt", "no.txt"), ("short.txt", "tokens"), ("d", "2 documents")):
        ended = run_xgen("check", str(tiny_folder), str(home / file))
        assert ended.code == 2
        assert said in ended.err
        assert "Traceback" not in ended.err
    ended = run_xgen("check", str(tiny_folder), str(home / "d" / "b.txt"), "--continue", "100000")
    assert ended.code == 2
    assert "--continue" in ended.err
