"""A recipe: one TOML file that holds a model's whole history, checked before anything is computed."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xgen.data.plan import StageSpec
from xgen.errors import BadRecipe
from xgen.files import model_folder, shipped_adapter
from xgen.formats.adapter import ADAPTER_FILE
from xgen.formats.folder import CONFIG_FILE
from xgen.model.shape import Shape

VOCABULARY_STEP = 64
"""Rows of the vocabulary's matrix come in such steps, which matrix units are fast with."""

_WAY_OUT = "name a recipe, such as recipes/tiny.toml"


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of one stage: up from zero over `warmup_tokens`, then `peak`, then down.

    `decay` is "cosine" (over all that follows the warm-up; Loshchilov and Hutter 2017), "linear" over the
    last `decay_tokens` (warm-up-stable-decay; Hu et al. 2024) or "none". It ends at `final` times the peak.
    """

    peak: float
    warmup_tokens: int
    decay: str
    decay_tokens: int
    final: float


@dataclass(frozen=True)
class Stage(StageSpec):
    """A stage: what it reads (StageSpec) and its learning rate. `name` tells it from the others."""

    learning_rate: LearningRate


@dataclass(frozen=True)
class Optimizer:
    """AdamW (Loshchilov and Hutter 2019), decay on matrices only, and what counts as an outlier step.

    A step whose loss or gradient norm is not finite, or above the mean of the last `spike_window` steps
    by `spike_sigmas` standard deviations, does not move the weights (spikes.py).
    """

    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip: float
    spike_sigmas: float
    spike_window: int


@dataclass(frozen=True)
class Adapter:
    """Low-rank matrices that are trained instead of the model's own (model/lora.py).

    They begin as the adapter `start`, named by its folder or as the package brings it; else as no change.
    """

    rank: int
    alpha: float
    start: str | None = None


@dataclass(frozen=True)
class Teacher:
    """A model of the same vocabulary whose word is `share` of each target (model/distil.py)."""

    model: str
    adapter: str | None
    share: float


@dataclass(frozen=True)
class Recipe:
    """A whole run. Exactly one of `shape` and `base` is there: a model from nothing, or a given one.

    A shape's `vocab_size` of 0 means: that of the corpus. `tokens_per_step` positions pass in every step,
    whatever a stage's length, at most `tokens_per_micro_step` of them at once on a device.
    """

    name: str
    corpus: str
    seed: int
    shape: Shape | None
    base: str | None
    adapter: Adapter | None
    teacher: Teacher | None
    dtype: str
    tokens_per_step: int
    tokens_per_micro_step: int
    checkpoint_steps: int
    log_steps: int
    held_out_tokens: int
    optimizer: Optimizer
    stages: tuple[Stage, ...]
    card: dict[str, Any]

    def rows_per_step(self, stage: Stage) -> int:
        """Rows of one optimizer step, of all ranks together."""
        return self.tokens_per_step // stage.length

    @property
    def longest(self) -> int:
        """The longest rows of all stages, in tokens."""
        return max(stage.length for stage in self.stages)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Strict: `true` is no number.
_Count = Annotated[int, Field(gt=0, strict=True)]
_Whole = Annotated[int, Field(ge=0, strict=True)]
_Positive = Annotated[float, Field(gt=0, strict=True)]
_Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class _Shape(_Table):
    n_layers: _Count
    d_model: _Count
    d_ff: _Count
    n_heads: _Count
    n_kv_heads: _Count
    head_dim: _Count
    vocab_size: _Whole = 0
    max_seq_len: _Count
    rope_theta: _Positive = 10_000.0
    norm_eps: _Positive = 1e-6
    tied_head: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} heads do not share {self.n_kv_heads} keys evenly")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd, and rotary positions take pairs")
        return self


class _LearningRate(_Table):
    peak: _Positive
    warmup_tokens: _Whole = 0
    decay: Literal["cosine", "linear", "none"] = "none"
    decay_tokens: _Whole = 0
    final: _Share = 0.0


class _Stage(_Table):
    name: Annotated[str, Field(min_length=1)]
    length: _Count
    tokens: _Count
    mix: Annotated[dict[str, _Positive], Field(min_length=1)]
    max_epochs: _Positive = 4.0
    long_share: _Share = 0.0
    temperature: _Positive = 0.5
    learning_rate: _LearningRate


class _Optimizer(_Table):
    betas: tuple[_Share, _Share] = (0.9, 0.95)
    eps: _Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0, strict=True)] = 0.1
    clip: _Positive = 1.0
    spike_sigmas: _Positive = 6.0
    spike_window: _Count = 128


class _Adapter(_Table):
    rank: _Count
    alpha: _Positive
    start: Annotated[str, Field(min_length=1)] | None = None


class _Teacher(_Table):
    model: Annotated[str, Field(min_length=1)]
    adapter: Annotated[str, Field(min_length=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.5


class _Card(_Table):
    title: str | None = None
    licence: str | None = None
    licence_source: str | None = None
    commercial_use: Literal["yes", "no"] | None = None


class _Recipe(_Table):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    corpus: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=1 << 63, strict=True)] = 0
    base: str | None = None
    model: _Shape | None = None
    adapter: _Adapter | None = None
    teacher: _Teacher | None = None
    dtype: Literal["bf16", "fp32"] = "bf16"
    tokens_per_step: _Count
    tokens_per_micro_step: _Count | None = None
    checkpoint_steps: _Count = 500
    log_steps: _Count = 10
    held_out_tokens: _Whole = 65_536
    optimizer: _Optimizer = _Optimizer()
    stage: Annotated[tuple[_Stage, ...], Field(min_length=1)]
    card: _Card = _Card()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.model is None) == (self.base is None):
            raise ValueError("name either a [model] shape or the base to go on from")
        if self.adapter and not self.base:
            raise ValueError("an [adapter] needs a base")
        names = [stage.name for stage in self.stage]
        if len(set(names)) < len(names):
            raise ValueError("two stages have the same name")
        for stage in self.stage:
            if self.tokens_per_step % stage.length:
                what = f"tokens_per_step {self.tokens_per_step} is not a multiple of"
                raise ValueError(f"{what} the length {stage.length} of stage {stage.name}")
            if self.model and stage.length > self.model.max_seq_len:
                raise ValueError(f"stage {stage.name} is longer than the model's {self.model.max_seq_len}")
        return self


def model_on_disk(name: str, role: str) -> Path:
    """The folder of a model that a recipe names, by folder or as pulled; BadRecipe if it is not there."""
    for folder in (Path(name), model_folder(name)):
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise BadRecipe(name, f"the {role} is not on the disk", f"xgen pull {name}, or name a folder")


def adapter_on_disk(name: str) -> Path:
    """The folder of an adapter that a recipe names, by folder or as the package brings it; else BadRecipe."""
    for folder in (Path(name), shipped_adapter(name)):
        if folder is not None and (folder / ADAPTER_FILE).is_file():
            return folder
    raise BadRecipe(name, "there is no such adapter", "name its folder, or reader or reader-1.5b")


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; BadRecipe names the first field that is wrong, and its place."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRecipe(str(path), "there is no such file", _WAY_OUT) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(str(path), f"it cannot be read ({error})", _WAY_OUT) from None
    return recipe_from(table, str(path))


def recipe_from(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from its table; `where` names it in errors. Raises BadRecipe."""
    try:
        read = _Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the recipe"
        what = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BadRecipe(where, f"{place}: {what}{more}", "docs/train.md describes every field") from None
    stages = tuple(
        Stage(**{**stage.model_dump(), "learning_rate": LearningRate(**stage.learning_rate.model_dump())})
        for stage in read.stage
    )
    longest = max(stage.length for stage in stages)
    return Recipe(
        name=read.name,
        corpus=read.corpus,
        seed=read.seed,
        shape=Shape(**read.model.model_dump()) if read.model else None,
        base=read.base,
        adapter=Adapter(**read.adapter.model_dump()) if read.adapter else None,
        teacher=Teacher(**read.teacher.model_dump()) if read.teacher else None,
        dtype=read.dtype,
        tokens_per_step=read.tokens_per_step,
        tokens_per_micro_step=max(longest, read.tokens_per_micro_step or min(read.tokens_per_step, 32_768)),
        checkpoint_steps=read.checkpoint_steps,
        log_steps=read.log_steps,
        held_out_tokens=read.held_out_tokens,
        optimizer=Optimizer(**read.optimizer.model_dump()),
        stages=stages,
        card=read.card.model_dump(exclude_none=True),
    )
