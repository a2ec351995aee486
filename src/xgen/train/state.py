"""Where a run stands, on the disk: whole or not there, and enough to go on bit for bit.

A checkpoint is a folder `checkpoint-STEP`: `state.safetensors` (masters, moments, counts, the guard) and
`state.json` (the place in the run, and the digest of both). Data needs no state of its own: which rows a step
reads follows from the plan and the step's number.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xgen.errors import XgenError
from xgen.files import sha256_of, whole_folder, write_whole
from xgen.show import note
from xgen.train.parallel import World
from xgen.train.step import Training

TENSORS_FILE = "state.safetensors"
PLACE_FILE = "state.json"
KEPT = 2
"""Checkpoints that stay; should the newest be damaged, there is one before it."""

_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Place:
    """How far a run is: `step` steps of all stages are done, `stage_step` of them in stage `stage`."""

    step: int
    stage: int
    stage_step: int


def save_checkpoint(run: Training, place: Place, out: Path, identity: str, world: World) -> None:
    """Write checkpoint-STEP below `out`, then remove older ones than the KEPT newest.

    Called by every process, for each holds a part; the first one writes. `identity` tells runs apart that
    must not be mixed. Killed at any moment, the folder is either whole or not there. Raises XgenError for a
    disk that is full.
    """
    tensors = _tensors(run, world.is_first)
    folder = out / f"checkpoint-{place.step:08d}"
    if world.is_first and not folder.exists():
        with whole_folder(folder) as draft:
            try:
                save_file(tensors, draft / TENSORS_FILE)
            except SafetensorError as error:  # what the library makes of a full disk
                way_out = "make room and give the same command again"
                raise XgenError(str(out), f"no checkpoint can be written ({error})", way_out) from error
            with (draft / TENSORS_FILE).open("rb+") as file:
                os.fsync(file.fileno())  # else the folder's new name may outlive a power cut, and this not
            table: dict[str, Any] = {"identity": identity, **asdict(place)}
            table["digest"] = _digest(table, draft / TENSORS_FILE)
            write_whole(draft / PLACE_FILE, json.dumps(table, indent=2).encode() + b"\n")
    if world.is_first:
        for old in checkpoints(out)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    world.wait()


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints below `out`, oldest first."""
    found = [path for path in out.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def stages_done(out: Path) -> int:
    """How many stages the newest checkpoint below `out` has behind it; 0 where none can be read."""
    try:
        return int(json.loads((checkpoints(out)[-1] / PLACE_FILE).read_bytes())["stage"])
    except (IndexError, OSError, ValueError, KeyError, TypeError):
        return 0


def restore_newest(run: Training, out: Path, identity: str, world: World) -> Place | None:
    """Put `run` where the newest whole checkpoint below `out` left it; None if there is none.

    Called by every process; the first one looks. A damaged checkpoint is put aside, which is said, and the
    one before it taken. Raises XgenError where none is whole, and for one of another recipe.
    """
    if world.is_first:
        for draft in out.glob(".checkpoint-*"):  # of a process that was killed while it wrote
            shutil.rmtree(draft, ignore_errors=True)
        _put_aside_damaged(out)
    world.wait()
    found = checkpoints(out)
    if not found:
        return None
    table = _read_table(found[-1])
    if table["identity"] != identity:
        what = "the run in this folder had another recipe, corpus or number of steps"
        raise XgenError(str(out), what, "name another --out, or the recipe it was begun with")
    with safe_open(found[-1] / TENSORS_FILE, "pt") as file:
        _restore(run, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return Place(table["step"], table["stage"], table["stage_step"])


def _put_aside_damaged(out: Path) -> None:
    """Take the name of damaged checkpoints that are newer than a whole one; XgenError if none is whole."""
    damaged: dict[Path, str] = {}
    for folder in reversed(checkpoints(out)):
        try:
            _require_whole(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            damaged[folder] = str(error)
            continue
        for other, what in damaged.items():
            aside = other.with_name(f"damaged-{other.name}")
            shutil.rmtree(aside, ignore_errors=True)
            other.rename(aside)
            note(f"{other}: damaged ({what}), now {aside.name}: going on from {folder.name} before it")
        return
    if damaged:
        newest = next(iter(damaged))
        way_out = "remove its checkpoints to begin anew, or name another --out"
        raise XgenError(str(newest), f"the checkpoint is damaged ({damaged[newest]})", way_out)


def _require_whole(folder: Path) -> None:
    """Raise whatever shows that a checkpoint is not as it was written."""
    table = _read_table(folder)
    Place(table["step"], table["stage"], table["stage_step"])
    with safe_open(folder / TENSORS_FILE, "pt"):
        pass
    said = table.pop("digest", None)  # not in those of before digests were written
    if said is not None and said != _digest(table, folder / TENSORS_FILE):
        raise ValueError("its digest is not that of what was written")


def _read_table(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / PLACE_FILE).read_bytes())
    return table


def _digest(table: dict[str, Any], tensors: Path) -> str:
    """SHA-256 of what state.json says and of the tensors' file."""
    told = f"{json.dumps(table, sort_keys=True)} {sha256_of(tensors)}"
    return hashlib.sha256(told.encode()).hexdigest()


def _tensors(run: Training, kept: bool) -> dict[str, Tensor]:
    """The state, whole, on the CPU; where it is not `kept` its parts are only given to who keeps it."""
    tensors = dict(run.guard.state())
    tensors["applied"] = run.applied
    for key, groups in {"master": run.weights.masters, **run.optimizer.moments()}.items():
        tensors |= {f"{key}.{name}": part.cpu() for name, part in run.weights.whole(groups) if kept}
    tensors["count"] = run.optimizer.counts()[0]
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _restore(run: Training, tensors: dict[str, Tensor]) -> None:
    run.guard.restore(tensors)
    run.applied.copy_(tensors["applied"])
    for key, groups in {"master": run.weights.masters, **run.optimizer.moments()}.items():
        mine = {name.removeprefix(f"{key}."): t for name, t in tensors.items() if name.startswith(f"{key}.")}
        run.weights.put(mine, groups)
    for count in run.optimizer.counts():
        count.copy_(tensors["count"])
    run.weights.publish()


def truncate_metrics(path: Path, place: Place) -> None:
    """Keep the lines of metrics.jsonl that were written before `place`; the rest is computed again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            break  # a line that a killed process did not finish
        if entry["step"] > place.step:
            break
        kept.append(line + "\n")
    write_whole(path, "".join(kept).encode())
