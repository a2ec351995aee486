"""Where and of what a number was made: the machine, the commit, the date."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def machine(device: "torch.device") -> dict[str, str | int]:
    """What computes: the GPU's name on a GPU, else the processor, its threads and its best instructions."""
    import torch

    known: dict[str, str | int] = {"torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        return {"gpu": torch.cuda.get_device_name(device), **known}
    from xgen.engine.machine import processor

    return {"cpu": processor(), "threads": torch.get_num_threads(), **known}


def commit(root: Path) -> str:
    """The commit of the code in `root`, with "-dirty" if it was changed since.

    A copy without its history (a GPU machine's) takes it from the variable XGEN_COMMIT.
    """
    stated = os.environ.get("XGEN_COMMIT")
    if stated:
        return stated
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return asked.stdout.strip()


def now() -> str:
    """Date and time, UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
