"""A model that is not on disk: offered to a person, refused to a script."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import xgen
from xgen.cli import loading
from xgen.files import cache_folder


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def sit_down(reply: str) -> None:
        terminal = io.StringIO(reply)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(loading, "screen", Console(stderr=True, force_terminal=True, highlight=False))

    return sit_down


@pytest.fixture
def pulls(home: Path, reader, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were pulls; qwen-0.5b is away until then."""
    names: list[str] = []
    (cache_folder() / "models" / "qwen-0.5b").rmdir()
    (home / "a.txt").write_text("Heron stands in the reeds.")
    monkeypatch.setattr(xgen, "pull", names.append)
    return names


def test_a_script_is_told_the_command(run_xgen: Callable, pulls: list[str]) -> None:
    ended = run_xgen("read", "a.txt")
    assert (ended.code, ended.out, pulls) == (2, "", [])
    assert "`xgen pull reader` (491 MB)" in ended.err


@pytest.mark.parametrize(("reply", "expected"), [("y\n", ["reader"]), ("n\n", []), ("", [])])
def test_a_person_is_asked(
    run_xgen: Callable, at_terminal: Callable, pulls: list[str], reply: str, expected: list[str]
) -> None:
    at_terminal(reply)
    ended = run_xgen("read", "a.txt")
    assert pulls == expected
    assert ended.code == (0 if expected else 2)
    assert "491 MB" in ended.err


def test_offline_asks_nobody(run_xgen: Callable, at_terminal: Callable, pulls: list[str]) -> None:
    at_terminal("y\n")
    ended = run_xgen("read", "a.txt", "--offline")
    assert (ended.code, pulls) == (2, [])
    assert "(y/n)" not in ended.err


@pytest.mark.parametrize("name", ["qwen-5b", "./nowhere", "xgen-7b-8k-inst"])
def test_what_cannot_be_had_is_said(run_xgen: Callable, pulls: list[str], name: str) -> None:
    ended = run_xgen("read", "a.txt", "--model", name)
    assert (ended.code, pulls) == (2, [])
    assert ended.err.count("\n") == 1


def test_a_folder_is_a_model(run_xgen: Callable, pulls: list[str], home: Path) -> None:
    (home / "mine").mkdir()
    for name in ("mine", "./mine", str(home / "mine")):
        assert run_xgen("read", "a.txt", "--model", name).code == 0
