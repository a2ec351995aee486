import json
from collections.abc import Callable
from pathlib import Path

import pytest

import xgen


def test_the_folder_is_the_output(run_xgen: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pull(name: str, from_file: Path | None = None, quiet: bool = False) -> Path:
        calls.append((name, from_file, quiet))
        return Path("kept") / name

    monkeypatch.setattr(xgen, "pull", pull)
    ended = run_xgen("pull", "smollm2", "--from", "model.gguf")
    assert ended.out == f"{Path('kept') / 'smollm2'}\n"
    assert "Apache-2.0, commercial use allowed" in ended.err
    ended = run_xgen("pull", "smollm2", "--json")
    assert json.loads(ended.out)["folder"] == str(Path("kept") / "smollm2")
    assert ended.err == ""
    assert calls == [("smollm2", Path("model.gguf"), False), ("smollm2", None, True)]


def test_an_unknown_name_is_refused_before_anything_happens(run_xgen: Callable) -> None:
    ended = run_xgen("pull", "gpt")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("xgen: gpt: there is no model of this name")
