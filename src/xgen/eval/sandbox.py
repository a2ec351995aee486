"""Code that a model wrote, run where it can compute and do nothing else.

A process of its own (in_sandbox.py), without arguments, environment or files but its answer: limits on time,
memory and output (setrlimit), and a filter that lets the system refuse every call but those of computing
(seccomp(2), Linux): no file is opened, nothing is started, no network, whatever the code does. Only values
come back, as JSON, and whoever asked checks them here: what runs there cannot say of itself that it is right.
Run on x86-64; the numbers for aarch64 are those of its table.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgen.errors import XgenError

ANSWER_BYTES = 1 << 16
MODULES = (
    *("bisect", "collections", "copy", "dataclasses", "enum", "fractions", "functools", "heapq"),
    *("itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing"),
)
"""What the code may import: pure computing, loaded before the filter falls."""


@dataclass(frozen=True)
class Ran:
    """`values` of the expressions, or the `fault` in one sentence: one of them is None."""

    values: list[Any] | None
    fault: str | None


def run_in_sandbox(
    code: str, expressions: Sequence[str], seconds: float = 5.0, memory_bytes: int = 1 << 28
) -> Ran:
    """Run `code`, then evaluate `expressions`, each to something that JSON holds.

    Raises XgenError where the system has no such filter; a sandbox that leaks is none.
    """
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        what = f"there is no sandbox for {sys.platform} on {machine}"
        raise XgenError("code written by a model", what, "run it on Linux, or read it yourself")
    request = {
        "code": code,
        "expressions": list(expressions),
        "modules": MODULES,
        "seconds": max(1, round(seconds)),
        "memory_bytes": memory_bytes,
        "answer_bytes": ANSWER_BYTES,
    }
    child = Path(__file__).with_name("in_sandbox.py")
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(child)],
            stdin=asked,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        try:
            code_of_end = process.wait(2 * seconds + 2)
        except subprocess.TimeoutExpired:
            return Ran(None, f"it took longer than {seconds:g} s")
        finally:
            process.kill()
            process.wait()
        answer.seek(0)
        said = answer.read(ANSWER_BYTES + 1)
    return _ran(said, code_of_end, len(expressions), seconds)


def _ran(said: bytes, code_of_end: int, n_values: int, seconds: float) -> Ran:
    if code_of_end == 71:  # in_sandbox.py could not put the filter up
        raise XgenError(
            "code written by a model", "the system refuses the sandbox's filter", "run it nowhere"
        )
    try:
        told = json.loads(said)
        values, fault = told.get("values"), told.get("fault")
    except (ValueError, AttributeError, RecursionError):
        if code_of_end in (-24, -9):  # SIGXCPU, and SIGKILL one second later
            return Ran(None, f"it took longer than {seconds:g} s")
        return Ran(None, "it ended without an answer, by what it did or by a limit on memory or output")
    if isinstance(values, list) and len(values) == n_values:
        return Ran(values, None)
    return Ran(None, " ".join(str(fault or "it gave no values").split())[:300])
