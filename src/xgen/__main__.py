"""Where `xgen` and `python -m xgen` begin, and where Ctrl-C ends them, in one sentence whenever it comes.

Loading the verbs takes a good part of a second. Therefore only what Python has loaded anyway is imported
out here; the rest waits until somebody listens.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # that of `typing` takes milliseconds to import
if TYPE_CHECKING:
    from typing import NoReturn

INTERRUPTED = 130
SENTENCE = "xgen: interrupted; nothing is half-written, and the same command may be given again."


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 2 bad input or circumstances, 130 interrupted."""
    try:
        import signal

        is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under `nohup`
        if is_heard:
            signal.signal(signal.SIGINT, _leave)
        from xgen.cli.app import main as run

        if is_heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _leave()


def _leave(*_: object) -> NoReturn:
    """End at once: whoever is impatient would press Ctrl-C again while Python closes.

    While the verbs load, this is what the signal calls: an exception that comes in a callback of the import
    system is printed there and forgotten.
    """
    os.write(2, f"{SENTENCE}\n".encode())
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
