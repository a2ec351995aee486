"""Ctrl-C while the command starts, works and ends: always 130 and one sentence."""

import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from xgen.__main__ import INTERRUPTED, SENTENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")

# Says when `main` begins, which is when it imports something, then waits for a document on standard input.
WAITING = """
import sys
import xgen.__main__
told = []
def tell(event, details):
    if event == "import" and not told:
        told.append(1)
        print("here", flush=True)
sys.addaudithook(tell)
xgen.__main__.main()
"""


def interrupted(*delays_s: float, code: str = WAITING) -> tuple[int, str]:
    """The exit code and stderr of `xgen tokens -`, interrupted after each of the delays."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, "tokens", "-"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as waiting:
        assert waiting.stdin is not None
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        assert waiting.stdout.readline() == "here\n"
        for delay_s in delays_s:
            time.sleep(delay_s)
            waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
        return waiting.wait(60), said


@pytest.mark.parametrize("delay_s", [0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8])
def test_ctrl_c_is_one_sentence_from_the_first_moment_on(delay_s: float) -> None:
    assert interrupted(delay_s) == (INTERRUPTED, f"{SENTENCE}\n")


def test_an_impatient_second_one_is_quiet() -> None:
    assert interrupted(0.8, 0.005, 0.005, 0.005) == (INTERRUPTED, f"{SENTENCE}\n")


def test_an_import_that_swallows_exceptions_does_not_swallow_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import time\ntry:\n    print('here', flush=True)\n    time.sleep(60)\n"
        "except BaseException:\n    pass\n"
    )
    code = f"""
import sys
import xgen.__main__
import xgen.cli.app
def load():
    sys.path.append({str(tmp_path)!r})
    import sleeper
xgen.cli.app.main = load
xgen.__main__.main()
"""
    assert interrupted(0.05, code=code) == (INTERRUPTED, f"{SENTENCE}\n")


def test_every_way_in_leads_here() -> None:
    (command,) = entry_points(group="console_scripts", name="xgen")
    assert command.value == "xgen.__main__:main"
    helped = subprocess.run([sys.executable, "-m", "xgen", "--help"], capture_output=True, text=True)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "Usage: xgen" in helped.stdout
