import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

COMMAND = [sys.executable, "-c", "from xgen.cli.app import main; main()", "tokens"]


def test_law_the_text_of_a_plain_file_is_the_file(tmp_path: Path) -> None:
    written = "R\u00e9iher\r\nim Schilf,\t\u6f22\u5b57 \U0001f600 \x1b[0m\n\n ende".encode()
    (tmp_path / "a.txt").write_bytes(written)
    printed = subprocess.run([*COMMAND, "--text", str(tmp_path / "a.txt")], capture_output=True)
    assert printed.stdout == written
    piped = subprocess.run([*COMMAND, "--text", "-"], input=written, capture_output=True)
    assert piped.stdout == written


def test_no_file_at_all_is_said(run_xgen: Callable) -> None:
    ended = run_xgen("tokens")
    assert ended.code == 2
    assert ended.err == "xgen: tokens: no file is named; name files to count, or one with --text.\n"
