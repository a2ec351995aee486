"""A published folder made into an ordinary one: tensor by tensor, going on from where it was stopped."""

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from xgen.bundle.carried import carried
from xgen.cards import Card
from xgen.errors import BadModel, NoRoom, XgenError
from xgen.files import held_alone, require_room, write_whole
from xgen.formats.checkpoint import parameters_by_shard, read_checkpoint, read_shard, weight_files
from xgen.formats.folder import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    foreign_name,
    parameter_shapes,
    read_json,
    weights_layout,
    write_json,
)
from xgen.formats.stored import DAMAGED, StoredTensor
from xgen.hub import HUB_ID
from xgen.model.shape import Shape
from xgen.show import note, progress

ORIGIN_FILE = "origin.json"
"""In an imported folder: what it was made of."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_NAMED: dict[object, torch.dtype] = {str(kind).removeprefix("torch."): kind for kind in _DTYPES.values()}
BESIDE_WEIGHTS_BYTES = 1 << 25
"""More than a tokenizer takes."""

_NUMBERS_AT_ONCE = 1 << 24


class NotBrought(BadModel):
    """A file that the hub did not give as it lists it: no fault of what is finished, which is kept."""


@dataclass(frozen=True)
class Arriving:
    """A repository of the hub whose weights come one file after another, and do not stay.

    `files` are their names and bytes; `bring` brings one into the source folder. Without an `index` in that
    folder, or with `bring` None, they are all there.
    """

    hub_id: str
    revision: str
    files: dict[str, int]
    index: Path | None = None
    bring: Callable[[str], None] | None = None


def import_model(
    source: Path,
    target: Path,
    dtype: str | None = None,
    named: str | None = None,
    quiet: bool = False,
    arriving: Arriving | None = None,
) -> Card:
    """Make the model folder `target` of the published folder `source` and return its card.

    `source` holds a config.json of the Llama family or Qwen2, safetensors or `pytorch_model*.bin`, and a
    byte-level BPE tokenizer or XGen's. `dtype` is "bf16", "fp16", "fp32", or None: the source's own if that
    has 16 bits, else bf16. `named` is the known name that the person gives it; `arriving` says what is
    still to come into `source`.

    Tensors are converted one at a time; what a process that was killed has finished is kept and not made
    again, and `target` gets its name once it is whole. Raises BadModel for whatever is damaged, unknown or
    cannot be represented, before anything is written of what is there; NoRoom if the disk has not room for
    it. Nothing of an import that was refused stays, but for NotBrought.
    """
    if target.exists():
        raise BadModel(str(target), "it is there already", "name another folder, or remove it")
    if dtype not in (*_DTYPES, None):
        raise XgenError(f"type {dtype!r}", "it is not known", "use " + ", ".join(_DTYPES))
    name, revision = (arriving.hub_id, arriving.revision) if arriving else _name_of(source)
    brought = carried(source, name, named)
    if arriving is None or arriving.bring is None:
        tensors = read_checkpoint(source, brought.shape)
        kind = _DTYPES[dtype] if dtype else _own_dtype({tensor.dtype for tensor in tensors.values()})
        files = {path.name: path.stat().st_size for path in weight_files(source)}
        times = [path.stat().st_mtime_ns for path in weight_files(source)]
        batches: _Batches = lambda done: iter([tensors])  # noqa: E731 - of the type of the other
    else:
        said = read_json(source / CONFIG_FILE)
        kind = (
            _DTYPES[dtype]
            if dtype
            else _own_dtype({_NAMED.get(said.get("torch_dtype") or said.get("dtype"))})
        )
        files, times = arriving.files, []
        batches = partial(_arriving, source, brought.shape, arriving)
    origin = {
        "name": name,
        "revision": revision,
        "files": files,
        "corrected": brought.corrections,
    }
    if not quiet:
        for correction in brought.corrections:
            note(f"{name}: {correction}: corrected")
    plan = _Plan(brought.shape, kind, target, (name, revision, files, times))
    with held_alone(plan.work / "lock", str(target), "another process is importing it now"):
        try:
            plan.write_weights(batches, quiet)
            brought.write(plan.draft, str(kind).removeprefix("torch."))
            write_json(plan.draft / ORIGIN_FILE, origin)
        except XgenError as error:
            refused = isinstance(error, BadModel) and not isinstance(error, NotBrought)
            if refused or not plan.has_begun:
                shutil.rmtree(plan.work, ignore_errors=True)
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            what = f"the disk is full; what is finished is kept in {plan.work.name}"
            raise NoRoom(str(target), what, "make room and import it again") from error
        except KeyboardInterrupt:
            note(
                f"{target.name}: stopped; what is finished is kept, and importing it again goes on from there"
            )
            raise
        plan.draft.rename(target)
        shutil.rmtree(plan.work, ignore_errors=True)
    return brought.card


def _name_of(source: Path) -> tuple[str, str | None]:
    """The name of a folder; in the cache of the hub's own library, its id and its commit."""
    source = source.absolute()
    owner_and_name = source.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    if source.parent.name == "snapshots" and HUB_ID.fullmatch(owner_and_name):
        return owner_and_name, source.name
    return source.resolve().name, None


_Batches = Callable[[set[str]], Iterator[dict[str, StoredTensor]]]
"""Given which of our parameters are done, the others, some at a time."""


def _arriving(
    source: Path, shape: Shape, arriving: Arriving, done: set[str]
) -> Iterator[dict[str, StoredTensor]]:
    """One file after another is brought, yielded and removed, but for those that are done already."""
    assert arriving.index is not None
    assert arriving.bring is not None
    for file, names in parameters_by_shard(arriving.index, shape).items():
        if not names <= done:
            try:
                arriving.bring(file)
            except BadModel as error:
                raise NotBrought(error.where, error.what, error.way_out) from error
            yield read_shard(source / file, arriving.index, shape)
        (source / file).unlink(missing_ok=True)


class _Plan:
    """Which tensors go where in the file to come, and which of them are there already.

    Beside the target lies a hidden folder: `model/`, which becomes the target; `done`, a line for each of
    our parameters that is on the disk; `of`, what all that was made of.
    """

    def __init__(self, shape: Shape, kind: torch.dtype, target: Path, of: object) -> None:
        self.work = target.with_name(f".{target.name}.import")
        self.draft = self.work / "model"
        self._kind = kind
        self._first, self._starts = weights_layout(shape, kind)
        self._sizes = {name: math.prod(n) * kind.itemsize for name, n in parameter_shapes(shape).items()}
        self._n_bytes = len(self._first) + sum(self._sizes.values())
        self._of = hashlib.sha256(repr((of, shape, kind, self._first)).encode()).hexdigest()

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on from."""
        return (self.work / "done").is_file()

    def write_weights(self, batches: _Batches, quiet: bool) -> None:
        """Write the tensors that are not there yet; BadModel if at the end one is missing."""
        done = self._done()
        left = self._n_bytes - sum(self._sizes[name] for name in done)
        require_room(self.work, left + BESIDE_WEIGHTS_BYTES)
        if done and not quiet:
            note(f"going on after {len(done)} of {len(self._sizes)} tensors that are there already")
        for tensors in batches(done):
            names = set(tensors) - done
            self._write({name: tensors[name] for name in names}, quiet)
            done |= names
        if missing := sorted(set(self._sizes) - done):
            raise BadModel(str(self.work), f"the tensor {foreign_name(missing[0])} is missing", DAMAGED)

    def _write(self, tensors: dict[str, StoredTensor], quiet: bool) -> None:
        """Write tensors at their places, those of one file in their order there."""
        order = sorted(tensors, key=lambda name: (tensors[name].path.name, tensors[name].start))
        with (
            (self.draft / WEIGHTS_FILE).open("r+b") as file,
            (self.work / "done").open("a", encoding="utf-8") as journal,
            progress("Importing", sum(self._sizes[name] for name in tensors), "B", quiet) as advance,
        ):
            for name in order:
                file.seek(self._starts[name])
                for part in _converted(tensors[name], self._kind):
                    file.write(part.view(torch.uint8).numpy().data)
                    advance(part.nbytes)
                _to_disk(file)
                journal.write(name + "\n")
                _to_disk(journal)

    def _done(self) -> set[str]:
        """The parameters that an earlier process has finished, if it was making the same."""
        said, journal, weights = self.work / "of", self.work / "done", self.draft / WEIGHTS_FILE
        if (
            said.is_file()
            and said.read_text() == self._of
            and weights.is_file()
            and weights.stat().st_size == self._n_bytes
        ):
            lines = journal.read_text(encoding="utf-8").split("\n")[:-1] if journal.is_file() else []
            return set(lines) & set(self._sizes)
        said.unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
        shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir()
        with weights.open("wb") as file:
            file.write(self._first)
            file.truncate(self._n_bytes)
            _to_disk(file)
        write_whole(said, self._of.encode())
        return set()


def _converted(tensor: StoredTensor, kind: torch.dtype) -> Iterator[Tensor]:
    """A tensor's numbers in order as `kind`, some at a time; BadModel for one that is not finite in it."""
    flat = tensor.read().reshape(-1)
    for start in range(0, len(flat), _NUMBERS_AT_ONCE):
        numbers = flat[start : start + _NUMBERS_AT_ONCE]
        made = numbers.to(kind)
        if not made.isfinite().all():
            if numbers.isfinite().all():
                largest = f"{tensor.name} holds {numbers.abs().max().item():.3g}, too large for {kind}"
                raise BadModel(str(tensor.path), largest, "import it with --dtype bf16 or fp32")
            raise BadModel(str(tensor.path), f"{tensor.name} holds what is no finite number", DAMAGED)
        yield made


def _own_dtype(own: set[torch.dtype | None]) -> torch.dtype:
    kind = next(iter(own)) if len(own) == 1 else None
    return kind if kind in (torch.float16, torch.bfloat16) else torch.bfloat16


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
