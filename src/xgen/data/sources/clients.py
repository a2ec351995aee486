"""The ordinary clients that bring packages: run them, take what they brought whole, say what went wrong."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from xgen.errors import XgenError
from xgen.files import no_room_named
from xgen.show import note

BATCH = 40  # packages that one run of a client brings
_MAX_SECONDS = 3600


class NotBrought(XgenError):
    """A package that its client could not bring; the sentence has the client's own words."""


def client(name: str) -> list[str]:
    """The command that runs a client; NotBrought if it is not installed."""
    if name == "pip" and importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]  # -P: a pip.py in the user's folder is not what is meant
    found = shutil.which(name) or (shutil.which("pip3") if name == "pip" else None)
    if found is None:
        raise NotBrought(
            name, "it is not installed", f"install {name}, or leave its sources out of the recipe"
        )
    return [found]


def run(command: Sequence[str], folder: Path, what: str) -> None:
    """Run a client in `folder`; NotBrought with the last words it said, if it fails."""
    program = "pip" if "pip" in command else Path(command[0]).name
    try:
        result = subprocess.run(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_MAX_SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotBrought(
            what, f"{program} took more than {_MAX_SECONDS // 60} minutes", "try again later"
        ) from error
    if result.returncode:
        lines = [line.strip() for line in result.stderr.decode("utf-8", "replace").splitlines()]
        errors = [line for line in lines if line.lower().startswith(("e:", "error", "npm err"))] or lines[-1:]
        said = "; ".join(line.rstrip(".") for line in errors[:5]) or f"it ended with {result.returncode}"
        raise NotBrought(what, f"{program} could not bring it ({said})", "try again, or name other versions")


def bring(
    folder: Path,
    missing: Sequence[str],
    command: Callable[[Sequence[str]], list[str]],
    source: str,
    quiet: bool,
) -> None:
    """Run `command(packages)` for the `missing` ones, batch by batch; its files appear whole in `folder`."""
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        if not quiet:
            note(f"{source}: bringing {start + 1} to {start + len(batch)} of {len(missing)} packages")
        with no_room_named(folder), TemporaryDirectory(prefix=".", dir=folder) as draft:
            run(command(batch), Path(draft), ", ".join(batch[:3]) + (", ..." if len(batch) > 3 else ""))
            for file in sorted(Path(draft).iterdir()):
                file.replace(folder / file.name)
