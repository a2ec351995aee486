"""A model on the disk, found by its name or its folder, with its adapter; nothing of it is loaded yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xgen.bundle.pulling import pull, source_of
from xgen.cards import ADAPTED, CARDS, Card, adapted_card, card, pulled_name, read_card
from xgen.errors import BadModel, NotPulled
from xgen.files import model_folder, shipped_adapter, shipped_file
from xgen.formats.adapter import ADAPTER_FILE, load_adapter
from xgen.formats.folder import CONFIG_FILE, GENERATION_FILE, read_json, read_shape
from xgen.model.lora import Adapter, merged
from xgen.model.shape import Shape


@dataclass(frozen=True)
class Found:
    """Where a model lies and what it is. `adapter` is the folder of `change`, which its weights get.

    The `card` is the adapter's where there is one, and allows no more than the model's.
    """

    folder: Path
    adapter: Path | None
    shape: Shape
    card: Card
    change: Adapter | None

    def changed(self, weight: Tensor, name: str) -> Tensor:
        """The weight `name`, with what the adapter adds to it in fp32."""
        return weight if self.change is None else merged(weight, name, self.change)


def find(name_or_folder: str | Path, adapter: str | Path | None = None) -> Found:
    """Find a pulled model by name, or any Llama or Qwen2 folder; a name of ADAPTED has its own adapter.

    Raises NotPulled for a known model that is not on disk, BadModel for an unknown or damaged one and for
    an adapter of another.
    """
    adapter = _adapter(str(name_or_folder), None if adapter is None else Path(adapter))
    folder = _folder(name_or_folder)
    shape = read_shape(folder / CONFIG_FILE)
    of_model = read_card(folder)
    return Found(
        folder=folder,
        adapter=adapter,
        shape=shape,
        card=of_model if adapter is None else adapted_card(of_model, adapter),
        change=None if adapter is None else load_adapter(adapter, shape, of_model.name),
    )


def end_ids(folder: Path, shape: Shape) -> list[int]:
    """What ends a reply, by generation_config.json, else by config.json; BadModel if neither says it."""
    files = [folder / name for name in (GENERATION_FILE, CONFIG_FILE)]
    found: Any = next(filter(None, (_ends_in(path) for path in files)), [])
    if not found or not all(isinstance(i, int) and 0 <= i < shape.vocab_size for i in found):
        raise BadModel(str(folder), "no eos_token_id says what ends a reply", "bring the folder again")
    return list(found)


def _ends_in(path: Path) -> list[Any]:
    ends = read_json(path).get("eos_token_id") if path.is_file() else None
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _folder(name_or_folder: str | Path) -> Path:
    name = str(name_or_folder)
    if "/" in name and not Path(name).is_dir() and model_folder(name).is_dir():
        return model_folder(name)
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
    if known.hub_id is None:
        source_of(known)
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
