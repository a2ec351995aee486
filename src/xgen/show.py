"""What people see while they wait and what scripts read: progress and words on stderr, data on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

screen = Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a plain line for people on stderr; rich markup in it is not interpreted."""
    screen.print(text, markup=False)


def print_json(value: Any) -> None:
    """Print `value` as indented UTF-8 JSON on stdout, for scripts."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


@contextmanager
def progress(what: str, total: int, unit: str, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left; yields `advance(n)`, called with the units just done.

    Drawn on a terminal only: a pipe gets one line at the end. `unit` is "B" for bytes, else a
    word such as "tok".
    """
    if quiet:
        yield lambda n: None
        return
    if not screen.is_terminal:
        started, done = time.perf_counter(), [0]
        yield lambda n: done.append(done.pop() + n)
        seconds = time.perf_counter() - started
        rate = done[0] / max(seconds, 1e-9)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        note(f"{what}: {done[0]:,} {unit} in {seconds:.1f} s ({shown} {unit}/s)")
        return
    from rich import progress as bars

    amount: list[bars.ProgressColumn] = (
        [bars.DownloadColumn(), bars.TransferSpeedColumn()]
        if unit == "B"
        else [bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[unit]}"), _rate_column()]
    )
    columns = [bars.TextColumn("{task.description}"), bars.BarColumn(), *amount]
    with bars.Progress(*columns, bars.TimeRemainingColumn(), console=screen, transient=True) as bar:
        task = bar.add_task(what, total=total, unit=unit)
        yield lambda n: bar.update(task, advance=n)


def _rate_column() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.speed
            return Text("" if rate is None else f"{rate:,.0f} {task.fields['unit']}/s")

    return Rate()
