"""The process in which a model's code runs: started by sandbox.py, imports nothing of ours.

It reads the request from standard input, takes its own rights away, runs the code and writes the values.
"""

import ctypes
import errno
import importlib
import io
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

# What computing needs, by the numbers of the two architectures (asm/unistd.h): reading and writing what is
# open, memory, signals, time, random numbers, and the end. Every other call fails with EPERM.
_ALLOWED = {
    "x86_64": (0xC000003E, (0, 1, 3, 5, 8, 9, 11, 12, 13, 14, 15, 24, 25, 28, 35, 39, 60, 96, 131, 202),
               (228, 229, 230, 231, 318)),
    "aarch64": (0xC00000B7, (63, 64, 57, 80, 62, 222, 215, 214, 134, 135, 139, 124, 216, 233, 101, 172, 93),
                (169, 132, 98, 113, 114, 115, 94, 278)),
}  # fmt: skip
_NO_FILTER = 71
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def main() -> None:
    """Answer one request, with nothing left at the end but the answer."""
    request = json.load(sys.stdin)
    answer = sys.stdout.fileno()
    for name in request["modules"]:
        importlib.import_module(name)
    _limit(request)
    _shut()
    sys.stdout = sys.stderr = io.StringIO()
    sys.stdin = io.StringIO()
    told = json.dumps(_told(request["code"], request["expressions"]))
    if len(told) > request["answer_bytes"]:
        told = json.dumps({"fault": "its values are too long"})
    os.write(answer, told.encode())
    os._exit(0)


def _told(code: str, expressions: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "sandbox"}
    try:
        exec(compile(code, "<code>", "exec"), names)
        values = [eval(expression, names) for expression in expressions]
        json.dumps(values)
    except BaseException as error:
        return {"fault": f"{type(error).__name__}: {str(error)[:200]}"}
    return {"values": values}


def _limit(request: dict[str, Any]) -> None:
    seconds = request["seconds"]
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_AS, request["memory_bytes"], request["memory_bytes"]),
        (resource.RLIMIT_FSIZE, request["answer_bytes"], request["answer_bytes"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))


def _shut() -> None:
    """Let the system refuse all but the allowed calls from now on; nothing can take that back."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    architecture, *groups = _ALLOWED[machine]
    allowed = [number for group in groups for number in group]
    steps = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, 0),
        *((_JUMP_EQUAL, len(allowed) - i, 0, number) for i, number in enumerate(allowed)),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many steps, and where they are
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    put_up = libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    put_up = put_up and libc.prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(fprog), 0, 0) == 0
    if not put_up:
        os._exit(_NO_FILTER)


if __name__ == "__main__":
    main()
