"""A model as its makers published it on the hub, brought onto this disk and made into one of ours."""

import fnmatch
import os
import shutil
from contextlib import suppress
from pathlib import Path

import torch

from xgen.bundle.carried import SMALL_FILES, carried
from xgen.bundle.importing import BESIDE_WEIGHTS_BYTES, ORIGIN_FILE, Arriving, import_model
from xgen.cards import CARDS
from xgen.errors import BadModel, XgenError
from xgen.files import held_alone, model_folder, no_room_named, require_room, write_whole
from xgen.formats.checkpoint import FORMS
from xgen.formats.folder import read_json, shard_names
from xgen.hub import Published, Repository, bring, look_up
from xgen.model.memory import Setting, needed
from xgen.model.shape import Shape
from xgen.show import note

SHORT_READ_TOKENS = 2048
"""The cache of so many tokens is the least that reading with a model is said to take."""

_IN_16_BITS, _IN_8_BITS = Setting("bf16", "bf16", "bf16"), Setting("int8", "int8", "bf16")
_SMALL_BYTES = 1 << 26
_WEIGHTS = (".safetensors", ".bin")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def pull_published(wanted: Published, anyway: bool = False, quiet: bool = False) -> Path:
    """Bring a published model into the cache folder, once, and return its folder.

    The revision is looked up once: what is brought, also by a later call that goes on where this one was
    stopped, is that commit's. The small files come first, so that a model that cannot be represented is
    refused before its weights are brought; then shard after shard, each gone once it is imported. Raises
    NoRoom if the disk has not room for the result and a shard, XgenError if this machine has not the memory
    to read even a short text (unless `anyway`), and whatever `look_up`, `bring` and `import_model` raise.
    """
    folder = model_folder(wanted.name)
    if folder.is_dir():
        _require_same(folder, wanted)
        return folder
    work = folder.with_name(f".{folder.name}.hub")
    with held_alone(work / "lock", wanted.hub_id, "another process is bringing it now"), no_room_named(work):
        try:
            repository = look_up(wanted.hub_id, _commit_begun(work, wanted.revision))
            source = work / repository.revision
            for other in work.glob("[0-9a-f]" * 40):
                if other != source:
                    shutil.rmtree(other)
            write_whole(work / "revision", f"{repository.revision} {wanted.revision or ''}".encode())
            index, weights = _small_files_brought(repository, source)
            shape = carried(source, wanted.hub_id, wanted.named).shape
            _require_known_size(wanted, shape)
            arriving = _arriving(repository, index, weights, source, shape.tied_head, quiet)
            _require_what_it_takes(arriving, shape, wanted, work, anyway, quiet)
            if arriving.bring is None:
                bring(repository, weights, source, quiet)
            import_model(source, folder, wanted.dtype, wanted.named, quiet, arriving)
        except BaseException as error:
            if not _is_begun(work):
                shutil.rmtree(work, ignore_errors=True)
            elif isinstance(error, BadModel):
                note(f"{wanted.hub_id}: what was brought of it is kept in {work}")
            elif isinstance(error, KeyboardInterrupt):
                kept = "what is finished is kept, and pulling it again goes on from there"
                note(f"{wanted.hub_id}: stopped; {kept}")
            raise
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _is_begun(work: Path) -> bool:
    """Whether there is more to go on from than small files, which come again in a moment."""
    names = (path.name.split(".part")[0] for path in work.rglob("*") if path.stat().st_size)
    return _drafts(work).is_dir() or any(name.endswith(_WEIGHTS) for name in names)


def _drafts(work: Path) -> Path:
    """Where `import_model` keeps what it has finished."""
    return work.with_name(work.name.removesuffix(".hub") + ".import")


def _require_same(folder: Path, wanted: Published) -> None:
    path = folder / ORIGIN_FILE
    origin = read_json(path) if path.is_file() else {}
    if origin.get("name") != wanted.hub_id:
        what = f"another model of this name is in {folder}"
    elif wanted.revision not in (None, origin.get("revision")):
        what = f"it is in {folder} at the commit {origin.get('revision')}"
    else:
        return
    raise BadModel(wanted.hub_id, what, "remove that folder first, or leave the revision out")


def _require_known_size(wanted: Published, shape: Shape) -> None:
    known = CARDS.get(wanted.name)
    if known is not None and known.n_parameters != shape.n_parameters:
        what = f"it has {shape.n_parameters:,} parameters, {known.name} has {known.n_parameters:,}"
        raise BadModel(wanted.hub_id, what, "name another revision, or another model")


def _commit_begun(work: Path, revision: str | None) -> str | None:
    """The commit that an earlier call for the same revision has begun to bring, else the revision."""
    with suppress(OSError, ValueError):
        commit, said = (work / "revision").read_text().split(" ")
        if said == (revision or ""):
            return commit
    return revision


def _small_files_brought(repository: Repository, source: Path) -> tuple[Path | None, list[str]]:
    """Bring all but the weights; returns the index, if there is one, and the files that hold those."""
    form = next((form for form in FORMS if not set(repository.files).isdisjoint(form)), None)
    if form is None:
        names = ", ".join(name for form in FORMS for name in form)
        raise BadModel(repository.hub_id, f"it has none of {names}", "name a repository that has one")
    index, single = form
    small = [n for n in repository.files if any(fnmatch.fnmatchcase(n, pattern) for pattern in SMALL_FILES)]
    if index in repository.files:
        small.append(index)
    n_bytes = sum(repository.files[name].n_bytes for name in small)
    if n_bytes > _SMALL_BYTES:
        what = f"its files beside the weights take {n_bytes:,} bytes"
        raise BadModel(repository.hub_id, what, "name a repository that holds a model")
    require_room(source, _SMALL_BYTES)
    bring(repository, small, source, quiet=True)
    weights = shard_names(source / index) if index in repository.files else [single]
    if missing := [name for name in weights if name not in repository.files]:
        raise BadModel(repository.hub_id, f"it has no whole file {missing[0]}", "name another revision")
    return source / index if index in repository.files else None, weights


def _arriving(
    repository: Repository, index: Path | None, weights: list[str], source: Path, tied: bool, quiet: bool
) -> Arriving:
    """How the weights come: shards one after another, but all before where a tied head must be compared."""
    one_by_one = None if index is None or tied else lambda name: bring(repository, [name], source, quiet)
    sizes = {name: repository.files[name].n_bytes for name in weights}
    return Arriving(repository.hub_id, repository.revision, sizes, index, one_by_one)


def _require_what_it_takes(
    arriving: Arriving, shape: Shape, wanted: Published, work: Path, anyway: bool, quiet: bool
) -> None:
    """Say what the model takes of disk and memory; raise where this machine has not that much."""
    sizes, made = arriving.files.values(), shape.weight_bytes(4 if wanted.dtype == "fp32" else 2)
    most = made + (max(sizes) if arriving.bring else sum(sizes)) + BESIDE_WEIGHTS_BYTES
    memory, gpu = machine_bytes()
    if not quiet:
        where = f"{wanted.hub_id} at {arriving.revision[:12]}"
        note(f"{where}: {_gb(sum(sizes))} to bring, {_gb(most)} on the disk at once, {_gb(made)} in the end")
        note(
            f"{_memory_said(shape)}; this machine has {_gb(memory)}"
            + (f", its GPU {_gb(gpu)}" if gpu else "")
        )
    require_room(work, most - _on_disk(work) - _on_disk(_drafts(work)))
    least = needed(shape, _IN_8_BITS, SHORT_READ_TOKENS).total
    if memory and least > max(memory, gpu) and not anyway:
        what = f"reading even {SHORT_READ_TOKENS:,} tokens in 8 bits takes {_gb(least)} of memory"
        way_out = "use a machine with more, or bring it all the same with --anyway"
        raise XgenError(wanted.hub_id, f"{what}, this machine has {_gb(max(memory, gpu))}", way_out)


def _on_disk(folder: Path) -> int:
    """Bytes that the files under a folder take, holes in them not counted."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(min(stat.st_size, getattr(stat, "st_blocks", stat.st_size) * 512) for stat in stats)


def _memory_said(shape: Shape) -> str:
    halves, bytes_ = (_gb(needed(shape, held, shape.max_seq_len).total) for held in (_IN_16_BITS, _IN_8_BITS))
    return f"reading {shape.max_seq_len:,} tokens with it takes {halves} of memory in 16 bits, {bytes_} in 8"


def machine_bytes() -> tuple[int, int]:
    """Bytes of memory that a process may take here, and of the first GPU; 0 where that is not known."""
    memory = 0
    with suppress(ValueError, OSError, AttributeError):  # Windows does not say
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max"
            memory = min(memory, int(path.read_text()))
    gpu = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    return memory, gpu


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"
