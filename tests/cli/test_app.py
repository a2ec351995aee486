"""How the command ends: whatever goes wrong, one sentence and the right number."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xgen.errors import TooLong

COMMAND = "from xgen.__main__ import main; main()"


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


@pytest.mark.parametrize("words", [("read",), ("fly",), ("read", "a.txt", "--read", "half"), ("pull",)])
def test_wrong_usage_ends_with_2(run_xgen: Callable, words: tuple[str, ...]) -> None:
    ended = run_xgen(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage: xgen" in ended.err


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
