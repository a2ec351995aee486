"""A model on the disk: brought there once (`pull`), then loaded with all that belongs to it (`load`)."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xgen.cards import ADAPTED, CARDS, Card, Source, adapted_card, card, pulled_name, read_card
from xgen.download import fetch
from xgen.engine.machine import Choice, Clock, all_threads, choice_for, leave_busy_cores
from xgen.engine.speculate import LONGEST_DRAFT
from xgen.errors import BadModel, NotPulled, XgenError
from xgen.files import cache_folder, model_folder, shipped_adapter, shipped_file, whole_file
from xgen.formats.adapter import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, load_adapter
from xgen.formats.folder import CONFIG_FILE, load_weights, read_json, read_shape
from xgen.formats.gguf import convert
from xgen.formats.shipped import expand_model
from xgen.model.attention import attend_for
from xgen.model.int8 import ALIGNMENT, add_int8, int8_weights
from xgen.model.lora import Adapter, merged
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.show import note
from xgen.text.chat import ChatTemplate
from xgen.text.tokenizer import Tokenizer

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
GENERATION_FILE = "generation_config.json"
INT8_FORM = 3
"""Of the 8-bit copies on the disk; those of another form are made anew."""


@dataclass(frozen=True)
class Bundle:
    """A loaded model. `end_ids` end a reply, `hidden_ids` are never to be sampled.

    `adapter` is the folder of the adapter that its weights are changed by, if there is one; the `card`
    is then the adapter's. Up to `int8_rows` tokens at once pass through 8-bit weights (model/int8.py).

    Hidden are the added tokens that do not end a reply and the rows that have no token.
    """

    card: Card
    folder: Path
    adapter: Path | None
    shape: Shape
    model: Transformer
    tokenizer: Tokenizer
    template: ChatTemplate
    device: torch.device
    dtype: torch.dtype
    int8_rows: int
    end_ids: frozenset[int]
    hidden_ids: frozenset[int]

    @cached_property
    def identity(self) -> str:
        """Tells these weights in this type from all others, without reading them all."""
        weights = weights_identity(self.folder, self.adapter)
        kind = f"{self.dtype} {self.int8_rows} {self.shape} {weights}"
        return hashlib.sha256(kind.encode()).hexdigest()

    @property
    def longest_draft(self) -> int:
        """How many ids may be guessed at once: a pass that checks them must go through the same weights."""
        return self.int8_rows - 1 if self.int8_rows else LONGEST_DRAFT


def weights_identity(folder: Path, adapter: Path | None = None) -> str:
    """Tells the weights of a folder, changed by an adapter's or not, from others.

    By sizes, times and the files' first and last megabytes; an adapter's configuration counts as well.
    """
    digest = hashlib.sha256()
    paths = sorted(folder.glob("*.safetensors"))
    if adapter is not None:
        paths += [adapter / ADAPTER_FILE, adapter / ADAPTER_WEIGHTS_FILE]
    for path in paths:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
    return digest.hexdigest()


def pull(name: str, from_file: Path | None = None, quiet: bool = False) -> Path:
    """Bring a known model into the cache folder, once, and return its folder; a second call is instant.

    The GGUF file (`from_file`, or the first place that has it; digest checked) is converted and
    removed; a model that the package ships is expanded. Of a name that is an adapter in the package the
    model that it changes is brought. A second process waits for the first. Raises BadModel for an unknown
    name or a wrong file, NotPulled if no place has it, NoRoom if the disk is full.
    """
    name = pulled_name(name)
    known = card(name)
    folder = model_folder(name)
    if folder.is_dir():
        return folder
    shipped = shipped_file(name)
    if shipped is not None:
        with _turn(folder, quiet):
            expand_model(shipped, folder)
        return folder
    source = _source(known)
    with _turn(folder, quiet):
        if folder.is_dir():
            return folder
        for draft in folder.parent.glob(f".{name}.*/"):  # of a process that was killed
            shutil.rmtree(draft, ignore_errors=True)
        gguf_file = folder.parent / source.file
        fetch(known, gguf_file, from_file=from_file, quiet=quiet)
        if not quiet:
            note(f"{name}: converting, once")
        convert(gguf_file, folder, known)
        gguf_file.unlink(missing_ok=True)
    return folder


def load(
    name_or_folder: str | Path, device: str = "auto", dtype: str = "auto", adapter: str | Path | None = None
) -> Bundle:
    """Load a pulled model by name, or any Llama or Qwen2 folder, ready to generate.

    `device` is "auto" (a CUDA device if there is one, else the CPU), "cpu", "cuda" or "cuda:1";
    `dtype` is "auto" (what the device computes fastest, on a CPU with 8-bit weights for passes of few
    rows where they pay), "bf16", "fp16" or "fp32" (that and nothing else). Weights in the stored type
    stay mapped to the file on a CPU. `adapter` is a PEFT folder, whose low-rank weights are added to the
    model's in fp32; a name of ADAPTED has its own. Raises NotPulled for a known model that is not on disk,
    BadModel for an unknown or damaged one and for an adapter of another, XgenError for a device or type
    that is not there.
    """
    started = Clock.now()
    adapter = _adapter(str(name_or_folder), None if adapter is None else Path(adapter))
    folder = _find(name_or_folder)
    place = _device(device)
    choice = choice_for(place) if dtype == "auto" else Choice(_dtype(dtype), 0, {})
    shape = read_shape(folder / CONFIG_FILE)
    of_model = read_card(folder)
    change = None if adapter is None else load_adapter(adapter, shape, of_model.name)
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.vocab_size > shape.vocab_size:
        what = f"its tokenizer has {tokenizer.vocab_size} ids for {shape.vocab_size} rows"
        raise BadModel(str(folder), what, "bring the folder again")
    end_ids = _end_ids(folder, shape)
    nameless = (i for i in range(shape.vocab_size) if not tokenizer.token_bytes(i))
    model = _model(folder, shape, place, choice, change)
    if choice.int8_rows:
        add_int8(model, choice.int8_rows, _int8_weights(folder, adapter, model))
    if place.type == "cpu" and (n_threads := leave_busy_cores(started)) < all_threads():
        note(f"other programs keep cores busy: computing on {n_threads} of {all_threads()}")
    return Bundle(
        card=of_model if adapter is None else adapted_card(of_model, adapter),
        folder=folder,
        adapter=adapter,
        shape=shape,
        model=model,
        tokenizer=tokenizer,
        template=ChatTemplate.from_folder(folder),
        device=place,
        dtype=choice.dtype,
        int8_rows=choice.int8_rows,
        end_ids=end_ids,
        hidden_ids=frozenset(nameless) - end_ids,
    )


def _source(known: Card) -> Source:
    if known.source is None:
        way_out = "name a folder on your disk that holds it"
        raise BadModel(known.name, "this model cannot be pulled", way_out)
    return known.source


def _find(name_or_folder: str | Path) -> Path:
    name = str(name_or_folder)
    if isinstance(name_or_folder, Path) or (name not in CARDS and Path(name).is_dir()):
        if not Path(name).is_dir():
            raise BadModel(name, "there is no such folder", "name a folder that holds a model")
        if (Path(name) / ADAPTER_FILE).is_file() and not (Path(name) / CONFIG_FILE).is_file():
            way_out = "name its model by --model and this folder by --adapter"
            raise BadModel(name, "it holds an adapter, which changes a model and is none", way_out)
        return Path(name)
    name = pulled_name(name)
    known = card(name)
    folder = model_folder(name)
    if folder.is_dir():
        return folder
    if shipped_file(name) is not None:
        return pull(name, quiet=True)
    _source(known)
    raise NotPulled(name, "it is not on this disk yet", f"run `xgen pull {name}`")


def _adapter(name: str, given: Path | None) -> Path | None:
    """The folder of the adapter that changes the model `name`: its own in the package, or the one given."""
    if name not in ADAPTED:
        return given
    if given is not None:
        raise BadModel(name, "it has an adapter of its own", f"name its model, {ADAPTED[name]}")
    if (folder := shipped_adapter(name)) is None:
        raise BadModel(name, "its adapter is missing from the package", "install the package again")
    return folder


@contextmanager
def _turn(folder: Path, quiet: bool) -> Iterator[None]:
    """Wait until no other process is bringing this model, then keep others waiting."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("ab") as lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not quiet:
                    note(f"{folder.name}: another process is bringing it, waiting")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise XgenError(f"device {name!r}", "it is not known", "use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise XgenError(f"device {name!r}", "this machine has none, or torch does not see it", "use cpu")
    return device


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise XgenError(f"type {name!r}", "it is not known", "use auto, " + ", ".join(DTYPES))
    return DTYPES[name]


def _model(
    folder: Path, shape: Shape, device: torch.device, choice: Choice, change: Adapter | None
) -> Transformer:
    weights = load_weights(folder, shape)
    with torch.device("meta"):  # no memory and no random numbers for what is replaced at once
        model = Transformer(shape, attend_for(device))
    try:
        if change is None:
            placed = {name: tensor.to(device, choice.dtype) for name, tensor in weights.items()}
        else:
            placed = {
                name: merged(tensor.to(device), name, change).to(choice.dtype)
                for name, tensor in weights.items()
            }
    except torch.OutOfMemoryError as error:
        needed = (
            f"{shape.weight_bytes(choice.dtype.itemsize) / 1e6:,.0f} MB of weights do not fit on {device}"
        )
        raise XgenError(str(folder), needed, "use a smaller model, or the CPU") from error
    model.load_state_dict(placed, assign=True)
    return model.requires_grad_(False).eval()


def int8_folder() -> Path:
    """Where the 8-bit copies of weights are."""
    return cache_folder() / "int8"


def int8_copies() -> list[tuple[str, int]]:
    """(model, bytes) of each 8-bit copy of weights; the model is "" where the file does not say it."""
    found = []
    for path in sorted(int8_folder().glob("*.safetensors")):
        model = ""
        with suppress(SafetensorError, OSError), safe_open(path, framework="np") as file:
            model = (file.metadata() or {}).get("model", "")
        with suppress(OSError):  # another process has just replaced it
            found.append((model, path.stat().st_size))
    return found


def _int8_weights(folder: Path, adapter: Path | None, model: Transformer) -> dict[str, torch.Tensor]:
    """The 8-bit copies of the weights, mapped from the cache folder; made and kept there at first.

    One file a model folder and adapter, so that those of weights that have changed are overwritten.
    """
    places = [str(place.resolve()) for place in (folder, adapter) if place is not None]
    name = hashlib.sha256("\n".join(places).encode()).hexdigest()
    path = int8_folder() / f"{name}.safetensors"
    of = f"{INT8_FORM} {weights_identity(folder, adapter)}"
    with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("of") == of:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    made = int8_weights(model)
    # a disk that is full or not ours costs a second or two at each start
    with suppress(SafetensorError, OSError, XgenError), whole_file(path) as draft:
        _save_aligned(made, draft, {"of": of, "model": " + ".join(Path(place).name for place in places)})
    return made


def _save_aligned(tensors: dict[str, torch.Tensor], path: Path, said: dict[str, str]) -> None:
    """Save so that the mapped tensors begin at multiples of ALIGNMENT, as their sizes are such multiples.

    The library ends its header at a multiple of 8; eight more characters in it make the other half.
    """
    for padding in ("", " " * (ALIGNMENT // 2)):
        save_file(tensors, path, {**said, "padding": padding})
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if (8 + header_bytes) % ALIGNMENT == 0:
            return


def _end_ids(folder: Path, shape: Shape) -> frozenset[int]:
    """From generation_config.json, else from config.json: one id or a list."""
    files = [folder / name for name in (GENERATION_FILE, CONFIG_FILE)]
    found: Any = next(filter(None, (_ends_in(path) for path in files)), [])
    if not found or not all(isinstance(i, int) and 0 <= i < shape.vocab_size for i in found):
        raise BadModel(str(folder), "no eos_token_id says what ends a reply", "bring the folder again")
    return frozenset(found)


def _ends_in(path: Path) -> list[Any]:
    ends = read_json(path).get("eos_token_id") if path.is_file() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]
