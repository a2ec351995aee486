"""The mean of several adapters of a model, as an adapter."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from xgen.bundle.finding import find
from xgen.cards import Card, inherited, read_card
from xgen.errors import BadModel
from xgen.files import whole_folder
from xgen.formats.adapter import ADAPTER_FILE, save_adapter
from xgen.formats.folder import read_json
from xgen.model.lora import mean


def average_adapters(model: str, adapters: Sequence[Path], target: Path) -> Card:
    """Write the mean of `adapters` of `model` to the new folder `target`, in bf16, and return its card.

    Its rank, scale, name and title are those of the first; what any of them forbids or warns of, it does
    too. BadModel for a folder that holds no adapter of the model, or one that changes other weights.
    """
    found = [find(model, adapter) for adapter in adapters]
    changes = [each.change for each in found if each.change is not None]
    for folder, change in zip(adapters, changes, strict=True):
        if change.weights.keys() != changes[0].weights.keys():
            what = f"it changes other weights than {adapters[0]}"
            raise BadModel(str(folder), what, "average adapters of the same maps")
    card = reduce(inherited, map(read_card, adapters))  # without what the model's own adds
    with whole_folder(target) as draft:
        base = read_json(adapters[0] / ADAPTER_FILE).get("base_model_name_or_path")
        save_adapter(draft, mean(changes), card, str(base or model))
    return card
