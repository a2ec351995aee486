"""How the command ends: whatever goes wrong, one sentence and the right number."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xgen.errors import TooLong

COMMAND = "from xgen.__main__ import main; main()"


def refused_by_torch() -> RuntimeError:
    """What torch says where a CPU's memory is too small: here more than can be addressed."""
    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**14)
    return refused.value


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            TooLong("a.txt", "9 tokens do not fit 8", "read\n with select"),
            "a.txt: 9 tokens do not fit 8; ",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/tmp/x"),
            "/tmp/x: the disk is full; make room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/tmp/x"), "/tmp/x: permission denied; "),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.29 GiB."),
            "memory: it is used up; ",
        ),
        (MemoryError(), "memory: it is used up; end what else uses it"),
        (refused_by_torch(), "memory: it is used up; "),
    ],
)
def test_every_fault_is_one_sentence(
    run_xgen: Callable,
    reader,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    sentence: str,
) -> None:
    def fail(*words, **options):
        raise fault

    monkeypatch.setattr(reader, "read", fail)
    Path("a.txt").write_text("Heron stands in the reeds.")
    ended = run_xgen("read", "a.txt")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"xgen: {sentence}")
    assert len(ended.err.splitlines()) == 1


def test_a_fault_of_ours_is_not_hidden(run_xgen: Callable, reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "read", lambda *words, **options: 1 / 0)
    Path("a.txt").write_text("Heron stands in the reeds.")
    with pytest.raises(ZeroDivisionError):
        run_xgen("read", "a.txt")

    def fail(*words, **options):
        raise RuntimeError("mat1 and mat2 must have the same dtype")

    monkeypatch.setattr(reader, "read", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        run_xgen("read", "a.txt")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("fly", "fly: there is no such verb; see `xgen --help`."),
        ("raed a.txt", "raed: there is no such verb; try 'read', or see `xgen --help`."),
        ("--fly", "--fly: there is no such option; see `xgen --help`."),
        ("read a.txt --fly", "--fly: there is no such option; see `xgen read --help`."),
        ("read a.txt -x", "-x: there is no such option; see `xgen read --help`."),
        (
            "read a.txt --windo 9",
            "--windo: there is no such option; try --window, or see `xgen read --help`.",
        ),
        ("read", "FILE: it is missing; see `xgen read --help`."),
        ("pull", "NAME: it is missing; see `xgen pull --help`."),
        ("read a.txt --window", "--window: it requires an argument; see `xgen read --help`."),
        ("tokens --json=3 a.txt", "--json: it does not take a value; see `xgen tokens --help`."),
        ("read a.txt --window x", "--window: it should be a valid integer; see `xgen read --help`."),
        (
            "read a.txt --window 0",
            "--window: it should be greater than or equal to 1; see `xgen read --help`.",
        ),
        (
            "read a.txt --read half",
            "--read: 'half' is not one of 'whole', 'select', 'head', 'tail'; see `xgen read --help`.",
        ),
        ("read --\x1b[31m", "--\ufffd[31m: there is no such option; see `xgen read --help`."),
    ],
)
def test_wrong_usage_is_one_sentence(run_xgen: Callable, words: str, sentence: str) -> None:
    assert run_xgen(*words.split(" ")) == (2, "", f"xgen: {sentence}\n")


def test_a_word_too_many_is_named(run_xgen: Callable) -> None:
    ended = run_xgen("pull", "smollm2", "qwen-0.5b")
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"xgen: pull: .*\(qwen-0\.5b\); see `xgen pull --help`\.\n", ended.err)


@pytest.mark.parametrize(("words", "code"), [((), 2), (("--help",), 0), (("read", "--help"), 0)])
def test_help_is_output(run_xgen: Callable, words: tuple[str, ...], code: int) -> None:
    ended = run_xgen(*words)
    assert (ended.code, ended.err) == (code, "")
    assert "Usage: xgen" in ended.out


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
def test_a_closed_pipe_is_quiet() -> None:
    lists = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert lists.stdout is not None
    assert lists.stderr is not None
    lists.stdout.close()
    assert lists.stderr.read() == b""
    assert lists.wait() == 1
    lists.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_named() -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND, "models"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2
    assert ended.stderr == "xgen: output: the disk is full; make room and call again.\n"


def test_output_is_utf_8_whatever_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("R\u00e9iher \u6f22\u5b57 im Schilf", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, "read", "missing-\u6f22\u5b57.txt"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert ended.returncode == 2
    assert "missing-\u6f22\u5b57.txt" in ended.stderr.decode("utf-8")
