"""The command `xgen`: its verbs, and how every failure ends in one sentence.

Being interrupted is not one of them: `xgen.__main__`, which calls this, sees to it.
"""

import errno
import io
import os
import re
import sys
from contextlib import suppress
from typing import Any, NoReturn

import typer

from xgen.cli.average import average
from xgen.cli.bench import bench
from xgen.cli.cache import cache
from xgen.cli.chat import chat
from xgen.cli.check import check
from xgen.cli.data import data
from xgen.cli.export import export
from xgen.cli.import_ import import_
from xgen.cli.models import models
from xgen.cli.plot import plot
from xgen.cli.printing import harmless
from xgen.cli.pull import pull
from xgen.cli.read import read
from xgen.cli.tokens import tokens
from xgen.cli.train import train
from xgen.errors import NoRoom, XgenError
from xgen.show import note

BAD_INPUT = 2
VERBS = {
    verb.__name__.removesuffix("_"): verb
    for verb in (read, chat, tokens, models, pull, import_, export, cache, bench, check, train, average, plot)
}

# Some versions of typer hold click within themselves, others import it; this is the class of either.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]

app = typer.Typer(name="xgen", add_completion=False, pretty_exceptions_enable=False)
for name, verb in VERBS.items():
    app.command(name)(verb)
app.add_typer(data)


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
        _drop_output()
        sys.exit(1)
    except XgenError as error:
        _end(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _drop_output()  # or Python tries it once more while it closes, and ends with a code of its own
        _end(_sentence(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_for_memory(error):
            raise
        way_out = "end what else uses it, or take --cache int8 or --dtype int8 where the verb has them"
        _end(str(XgenError("memory", "it is used up", way_out)))
    sys.exit(0)


def _is_for_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether memory was refused: by Python, by a GPU, or by torch on a CPU, which has no class for it."""
    of_torch = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or of_torch


def _drop_output() -> None:
    """Let what is still buffered for standard output go nowhere."""
    with suppress(io.UnsupportedOperation):  # whoever runs us within Python may have put a text in its place
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> None:
    is_bare = not sys.argv[1:]
    try:
        # On Windows typer expands ~ and wildcards, but only if it takes the words itself.
        code = app(["--help"] if is_bare else None, prog_name="xgen", standalone_mode=False)
    except _UsageError as error:
        raise _wrong_usage(error) from None
    finally:
        sys.stdout.flush()
    if code == 130:  # what typer makes of KeyboardInterrupt
        raise KeyboardInterrupt
    if is_bare:
        sys.exit(BAD_INPUT)


def _wrong_usage(error: Any) -> XgenError:
    """What typer found wrong with the words of the command line, as one sentence instead of a box."""
    verb = next((word for word in sys.argv[1:2] if word in {"data", *VERBS}), "")
    way_out = f"see `xgen {verb} --help`" if verb else "see `xgen --help`"
    message = error.message.removesuffix(".")
    if unknown := re.match(r"No such command '(.*?)'(?:\. Did you mean (.*)\?)?", message, re.DOTALL):
        name, meant = unknown.groups()
        return XgenError(name, "there is no such verb", f"try {meant}, or {way_out}" if meant else way_out)
    if hasattr(error, "possibilities"):
        meant = " or ".join(sorted(error.possibilities or ()))
        way_out = f"try {meant}, or {way_out}" if meant else way_out
        return XgenError(error.option_name, "there is no such option", way_out)
    if hasattr(error, "option_name"):  # it lacks its value, or has one too many
        return XgenError(error.option_name, message.replace(f"Option {error.option_name!r}", "it"), way_out)
    param = getattr(error, "param", None)
    if param is None:
        return XgenError(verb or "xgen", message[:1].lower() + message[1:], way_out)
    name = param.opts[0] if param.param_type_name == "option" else param.metavar or param.name
    if hasattr(error, "param_type"):
        return XgenError(name, "it is missing", way_out)
    what, *_ = message.removeprefix("Value error, ").replace("Input", "it").split(", unable to parse")
    return XgenError(name, what, way_out)


def _sentence(error: OSError) -> str:
    place = str(error.filename or "output")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(NoRoom(place, "the disk is full", "make room and call again"))
    return str(XgenError(place, (error.strerror or str(error)).lower(), "see to it and call again"))


def _end(sentence: str) -> NoReturn:
    note("xgen: " + harmless(" ".join(sentence.split())))
    sys.exit(BAD_INPUT)
