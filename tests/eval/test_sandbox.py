import socket
import sys
from pathlib import Path

import pytest

from xgen.errors import XgenError
from xgen.eval.sandbox import run_in_sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")


def test_values_come_back() -> None:
    code = "import random\n\ndef double(x):\n    print('hello')\n    return [2 * y for y in x]"
    ran = run_in_sandbox(code, ["double([1, 2])", "random.Random(3).random() < 1", "None"])
    assert (ran.values, ran.fault) == ([[2, 4], True, None], None)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("while True: pass", "longer than 1 s"),
        ("import time\ntime.sleep(60)", "longer than 1 s"),
        ("x = bytearray(1 << 32)", "MemoryError"),
        ("import os\nwhile True: os.write(1, b'x' * 9999)", "ended without an answer"),
        ("import os\nos.write(1, b'[1]')\nos._exit(0)", "ended without an answer"),
        ("import os\nos.write(1, b'{}')\nos._exit(0)", "no values"),
        ("import ctypes\nctypes.string_at(0)", "ended without an answer"),
        ("f = lambda: 'x' * 100_000", "too long"),
        ("f = lambda: {1}", "not JSON"),
    ],
)
def test_a_fault_is_one_sentence(code: str, fault: str) -> None:
    ran = run_in_sandbox(code, ["f()"], seconds=1)
    assert ran.values is None
    assert ran.fault is not None
    assert fault in ran.fault
    assert "\n" not in ran.fault


def test_law_nothing_outside_is_reached(tmp_path: Path) -> None:
    """By Python's own functions, and by bare system calls of both architectures."""
    secret = tmp_path / "secret"
    secret.write_text("told")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _try_all(tmp_path, secret, listening.getsockname()[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]


def _try_all(tmp_path: Path, secret: Path, port: int) -> None:
    attempts = {
        "read": f"open({str(secret)!r}).read()",
        "write": f"open({str(tmp_path / 'made')!r}, 'w').write('x')",
        "list": f"__import__('os').listdir({str(tmp_path)!r})",
        "remove": f"__import__('os').remove({str(secret)!r})",
        "start": f"1 / (__import__('os').system('touch {tmp_path / 'started'}') == 0)",
        "fork": "__import__('os').fork()",
        "signal": "__import__('os').kill(__import__('os').getppid(), 9)",
        "network": f"__import__('socket').create_connection(('127.0.0.1', {port}))",
        "more memory": "__import__('resource').setrlimit(7, (99, 99))",
    }
    for what, attempt in attempts.items():
        ran = run_in_sandbox("", [attempt], seconds=2)
        assert ran.values is None, what
    bare = (
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        f"opened = [libc.syscall(n, *rest) for n, *rest in ((2, {str(secret).encode()!r}, 0), "
        f"(257, -100, {str(secret).encode()!r}, 0), (56, -100, {str(secret).encode()!r}, 0), (41, 2, 1, 0), "
        f"(198, 2, 1, 0), (57,), (220, 17, 0), (425, 1, 0), (0x40000000 + 2, {str(secret).encode()!r}, 0))]"
    )
    ran = run_in_sandbox(bare, ["opened"])
    assert ran.values is None or set(ran.values[0]) == {-1}


def test_where_there_is_no_filter_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(XgenError, match="no sandbox for win32"):
        run_in_sandbox("", [])
