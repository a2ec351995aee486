"""Where `xgen` and `python -m xgen` begin, and where Ctrl-C ends them, in one sentence whenever it comes.

Loading the verbs takes a good part of a second. Therefore only what Python has loaded anyway is imported
out here; the rest waits until somebody listens.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # that of `typing` takes milliseconds to import
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
SENTENCE = "xgen: interrupted; nothing is half-written, and the same command may be given again."


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 2 bad input or circumstances, 130 interrupted."""
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so under `nohup`
            signal.signal(signal.SIGINT, _interrupt)
        from xgen.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _leave()


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but end at once where something is being imported, as torch is for seconds.

    An exception that comes there may be printed and forgotten (in a callback of the import system) or abort
    the process (in the C++ that torch begins with).
    """
    outer = frame
    while outer is not None:
        if outer.f_code.co_filename.startswith("<frozen importlib"):
            _leave()
        outer = outer.f_back
    raise KeyboardInterrupt


def _leave() -> NoReturn:
    """End without closing Python, which takes so long that the impatient press Ctrl-C again."""
    os.write(2, f"{SENTENCE}\n".encode())
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
