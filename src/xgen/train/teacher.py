"""Another model of the same vocabulary that a run learns from beside its data (model/distil.py)."""

from dataclasses import dataclass
from pathlib import Path

import torch

from xgen.cards import Card, inherited, read_card
from xgen.errors import BadRecipe
from xgen.formats.adapter import ADAPTER_WEIGHTS_FILE, load_adapter
from xgen.formats.folder import CONFIG_FILE, load_weights, read_shape
from xgen.model.distil import Taught
from xgen.model.lora import merged
from xgen.model.packed import attend_packed
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.train.recipe import Recipe, adapter_on_disk, model_on_disk
from xgen.train.recipe import Teacher as TeacherSettings
from xgen.train.rows import Batch


@dataclass(frozen=True)
class Teacher:
    """A model whose word counts for `share` of each target."""

    model: Transformer
    share: float

    @torch.no_grad()
    def teach(self, batch: Batch) -> Taught:
        """What the teacher makes of a batch's tokens; without gradients."""
        hidden_BTU = self.model(batch.ids, batch.positions, mask=batch.packed)
        return Taught(hidden_BTU.flatten(0, 1), self.model.output_weight.detach(), self.share)


@dataclass(frozen=True)
class Found:
    """Where a teacher's weights lie: its folder, and that of the adapter that changes them."""

    folder: Path
    adapter: Path | None

    @property
    def files(self) -> list[Path]:
        """All files that its weights are made of."""
        own = sorted(self.folder.glob("*.safetensors"))
        return own if self.adapter is None else [*own, self.adapter / ADAPTER_WEIGHTS_FILE]

    @property
    def card(self) -> Card:
        """What it allows and forbids."""
        card = read_card(self.folder)
        return card if self.adapter is None else inherited(read_card(self.adapter), card)


def find_teacher(settings: TeacherSettings) -> Found:
    """The teacher on the disk; BadRecipe if the model or the adapter is not there."""
    folder = model_on_disk(settings.model, "teacher")
    if settings.adapter is None:
        return Found(folder, None)
    return Found(folder, adapter_on_disk(settings.adapter))


def teacher_shape(recipe: Recipe, settings: TeacherSettings, shape: Shape) -> Shape:
    """The teacher's shape; BadRecipe if it has another number of ids than `shape`, or too short a window."""
    found = read_shape(find_teacher(settings).folder / CONFIG_FILE)
    if found.vocab_size != shape.vocab_size:
        what = f"the teacher has {found.vocab_size:,} ids and the model {shape.vocab_size:,}"
        raise BadRecipe(settings.model, what, "take a teacher with the same tokenizer")
    if recipe.longest > found.max_seq_len:
        what = (
            f"a stage has rows of {recipe.longest:,} tokens and the teacher a window of {found.max_seq_len:,}"
        )
        raise BadRecipe(settings.model, what, "shorten the stage, or take another teacher")
    return found


def load_teacher(recipe: Recipe, shape: Shape, device: torch.device) -> Teacher | None:
    """The teacher of a run on its device, with its adapter's change in its weights; None if it has none."""
    if recipe.teacher is None:
        return None
    its_shape = teacher_shape(recipe, recipe.teacher, shape)
    found = find_teacher(recipe.teacher)
    change = found.adapter and load_adapter(found.adapter, its_shape, read_card(found.folder).name)
    dtype = torch.bfloat16 if recipe.dtype == "bf16" else torch.float32
    weights = {  # one by one: an adapter's change makes them fp32 for a moment
        name: (merged(weight, name, change) if change else weight).to(device, dtype)
        for name, weight in load_weights(found.folder, its_shape).items()
    }
    with torch.device("meta"):
        model = Transformer(its_shape, attend_packed)
    model.load_state_dict(weights, strict=True, assign=True)
    return Teacher(model.requires_grad_(False), recipe.teacher.share)
