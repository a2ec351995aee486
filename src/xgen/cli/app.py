"""The command `xgen`: its verbs, and how every failure ends in one sentence.

Being interrupted is not one of them: `xgen.__main__`, which calls this, sees to it.
"""

import errno
import io
import os
import sys
from typing import NoReturn

import typer

from xgen.cli.chat import chat
from xgen.cli.models import models
from xgen.cli.pull import pull
from xgen.cli.read import read
from xgen.cli.tokens import tokens
from xgen.errors import NoRoom, XgenError
from xgen.show import note

BAD_INPUT = 2

app = typer.Typer(
    name="xgen",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (read, chat, tokens, models, pull):
    app.command()(verb)


@app.callback()
def describe() -> None:
    """Long documents, read on your own hardware: answers with evidence, summaries with their coverage."""


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 2 bad input or circumstances.

    Raises KeyboardInterrupt.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # UTF-8 on every system; what it cannot hold (half a surrogate pair in a file's name) becomes "?".
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        _run()
    except BrokenPipeError:
        # Whoever read our output has left (`xgen read ... | head`): not worth a word. What is still
        # buffered goes nowhere, or Python would complain while it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except XgenError as error:
        _end(str(error))
    except OSError as error:
        _end(_sentence(error))
    sys.exit(0)


def _run() -> None:
    try:
        app(prog_name="xgen")
    except SystemExit as stop:
        if stop.code == 130:  # what typer makes of KeyboardInterrupt
            raise KeyboardInterrupt from stop
        raise
    finally:
        sys.stdout.flush()


def _sentence(error: OSError) -> str:
    place = str(error.filename or "output")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(NoRoom(place, "the disk is full", "make room and call again"))
    return str(XgenError(place, (error.strerror or str(error)).lower(), "see to it and call again"))


def _end(sentence: str) -> NoReturn:
    note("xgen: " + " ".join(sentence.split()))
    sys.exit(BAD_INPUT)
