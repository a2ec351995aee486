"""What a run begins with, and the model folder that it ends with."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xgen.cards import CARD_FILE, UNKNOWN_LICENCE, Card, inherited, read_card, write_card
from xgen.data.ledger import RUN_FILE
from xgen.data.shards import Corpus
from xgen.errors import BadRecipe, XgenError
from xgen.files import forget_drafts, replace_folder, whole_folder
from xgen.formats.adapter import load_adapter, save_adapter
from xgen.formats.folder import (
    CHATML,
    CONFIG_FILE,
    GENERATION_FILE,
    INDEX_FILE,
    load_weights,
    read_json,
    read_shape,
    write_config,
    write_json,
    write_weights,
)
from xgen.model.lora import Adapter, attach, new_adapter
from xgen.model.packed import attend_packed
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.train.optim import AdamW
from xgen.train.parallel import World
from xgen.train.recipe import VOCABULARY_STEP, Recipe, adapter_on_disk, model_on_disk
from xgen.train.recipe import Adapter as AdapterSettings
from xgen.train.spikes import SpikeGuard
from xgen.train.step import Training, compile_layers
from xgen.train.teacher import find_teacher, load_teacher
from xgen.train.weights import Weights

INITIAL_SPREAD = 0.02
"""Standard deviation of fresh weights (GPT-2; Radford et al. 2019), less for what adds to the stream."""

END_OF_TURN = "<|im_end|>"
TOKENIZER_FILE = "tokenizer.json"


def shape_of(recipe: Recipe, vocab_size: int | None) -> Shape:
    """The shape that the recipe trains, the vocabulary's rows filled up from that of the corpus.

    `vocab_size` is None where there is no corpus yet. Raises BadRecipe for a vocabulary or a length
    that does not fit.
    """
    if recipe.base:
        shape = read_shape(base_folder(recipe) / CONFIG_FILE)
    elif recipe.shape is not None and recipe.shape.vocab_size:
        shape = recipe.shape
    elif vocab_size is None:
        way_out = "build the corpus first, or say vocab_size under [model]"
        raise BadRecipe(recipe.name, "its vocabulary is the corpus's, which is not there", way_out)
    else:
        assert recipe.shape is not None  # the recipe has a base or a shape
        rows = -(-vocab_size // VOCABULARY_STEP) * VOCABULARY_STEP
        shape = dataclasses.replace(recipe.shape, vocab_size=rows)
    if recipe.longest > shape.max_seq_len:
        what = f"a stage has rows of {recipe.longest:,} tokens and its base a window of {shape.max_seq_len:,}"
        raise BadRecipe(recipe.name, what, "shorten the stage, or take another base")
    if vocab_size is not None and vocab_size > shape.vocab_size:
        what = f"the corpus has {vocab_size:,} ids and the model {shape.vocab_size:,} rows"
        raise BadRecipe(recipe.name, what, "build the corpus with the tokenizer of the model")
    return shape


def base_folder(recipe: Recipe) -> Path:
    """The folder of the model that the recipe goes on from; BadRecipe if it is not on the disk."""
    assert recipe.base is not None
    return model_on_disk(recipe.base, "base")


def begin(recipe: Recipe, shape: Shape, world: World) -> Training:
    """A run before its first step: fresh weights, or the base's; shared out among processes.

    BadRecipe if the rows of a step cannot be shared out evenly: who has fewer would leave the others waiting.
    """
    for stage in recipe.stages:
        if recipe.rows_per_step(stage) % world.size:
            what = f"the {recipe.rows_per_step(stage)} rows of a step of stage {stage.name} are not shared"
            way_out = "take another number of processes, or another tokens_per_step"
            raise BadRecipe(recipe.name, f"{what} evenly by {world.size} processes", way_out)
    model = Transformer(shape, attend_packed)
    if recipe.base:
        model.load_state_dict(load_weights(base_folder(recipe), shape), strict=True)
    else:
        initialise(model, recipe.seed)
    device = world.device
    model.to(device)
    if recipe.adapter:
        attach(model, first_adapter(recipe.adapter, model, recipe.seed, read_card(base_folder(recipe)).name))
    dtype = torch.bfloat16 if recipe.dtype == "bf16" else torch.float32
    if world.size > 1:
        from xgen.train.sharded import ShardedWeights

        weights: Weights = ShardedWeights(model, dtype, world.size)
    else:
        weights = Weights(model, dtype)
    teacher = load_teacher(recipe, shape, device)
    if device.type == "cuda":
        compile_layers(model)
        if teacher is not None:
            compile_layers(teacher.model)
    settings = recipe.optimizer
    return Training(
        model=model,
        weights=weights,
        optimizer=AdamW(weights, settings),
        guard=SpikeGuard(settings.spike_window, settings.spike_sigmas, device),
        applied=torch.zeros((), dtype=torch.int64, device=device),
        teacher=teacher,
    )


def first_adapter(settings: AdapterSettings, model: Transformer, seed: int, base: str) -> Adapter:
    """The adapter that a run on the model called `base` begins with: its `start` in fp32, or a fresh one.

    BadModel if `start` or its card is damaged or does not fit the model; BadRecipe if it has another rank
    or scale than the recipe says, or leaves out some of the maps.
    """
    fresh = new_adapter(model, settings.rank, settings.alpha, seed)
    if settings.start is None:
        return fresh
    folder = adapter_on_disk(settings.start)
    read_card(folder)  # a bad one is said now, not after the run (card_of)
    found = load_adapter(folder, model.shape, base)
    if (found.rank, found.alpha) != (settings.rank, settings.alpha):
        theirs = f"it has rank {found.rank} and alpha {found.alpha:g}"
        what = f"{theirs}, the recipe {settings.rank} and {settings.alpha:g}"
        raise BadRecipe(settings.start, what, "say the same under [adapter]")
    if missing := sorted(fresh.weights.keys() - found.weights.keys()):
        raise BadRecipe(settings.start, f"it does not change {missing[0]}", "begin with one of all maps")
    weights = {name: (a.float(), b.float()) for name, (a, b) in found.weights.items()}
    return Adapter(found.rank, found.alpha, weights)


def initialise(model: Transformer, seed: int) -> None:
    """Fresh weights, the same on every device: matrices from a normal distribution, norms 1, biases 0.

    What is added to the stream, `o` and `down`, is smaller by sqrt(2 n_layers), so that the stream does
    not grow with depth (GPT-2, section 2.3).
    """
    generator = torch.Generator().manual_seed(seed)
    added = INITIAL_SPREAD * (2 * model.shape.n_layers) ** -0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            spread = added if name.endswith(("o.weight", "down.weight")) else INITIAL_SPREAD
            nn.init.normal_(parameter, std=spread, generator=generator)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


def require_own(out: Path) -> None:
    """XgenError if `out` holds a model or an adapter that no run there has made: the end would replace it."""
    for name in ("model", "adapter"):
        if (out / name).exists() and not (out / RUN_FILE).is_file():
            raise XgenError(str(out / name), "it is not of a run in this folder", "name another --out")


def write_outcome(
    recipe: Recipe, shape: Shape, corpus: Corpus, masters: dict[str, Tensor], out: Path
) -> Path:
    """Write what the run made, `out`/model or `out`/adapter, and return it; an older one is replaced.

    `masters` are the trained weights, fp32, by our names.
    """
    folder = out / ("adapter" if recipe.adapter else "model")
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    forget_drafts(new)
    with whole_folder(new) as draft:
        if recipe.adapter:
            card = card_of(recipe, shape, corpus)
            save_adapter(draft, _trained_adapter(recipe.adapter, masters), card, str(recipe.base))
        else:
            _write_model(recipe, shape, corpus, masters, draft)
    replace_folder(new, folder)
    return folder


def _trained_adapter(settings: AdapterSettings, masters: dict[str, Tensor]) -> Adapter:
    prefixes = [name.removesuffix(".lora_a") for name in masters if name.endswith(".lora_a")]
    pairs = {f"{p}.weight": (masters[f"{p}.lora_a"], masters[f"{p}.lora_b"]) for p in prefixes}
    return Adapter(settings.rank, settings.alpha, pairs)


def _write_model(
    recipe: Recipe, shape: Shape, corpus: Corpus, masters: dict[str, Tensor], draft: Path
) -> None:
    """An ordinary model folder (bf16): weights, configuration, tokenizer, template, card."""
    if recipe.base:
        for path in base_folder(recipe).iterdir():
            if path.suffix in (".json", ".jinja") and path.name not in (CARD_FILE, CONFIG_FILE, INDEX_FILE):
                shutil.copyfile(path, draft / path.name)
    else:
        shutil.copyfile(corpus.folder / TOKENIZER_FILE, draft / TOKENIZER_FILE)
        named = {token["content"]: token["id"] for token in read_json(draft / TOKENIZER_FILE)["added_tokens"]}
        _write_settings(draft, shape, corpus.eot_id, named)
    write_config(draft, shape, **_ends(draft, base_folder(recipe) if recipe.base else draft))
    write_card(card_of(recipe, shape, corpus), draft)
    write_weights(draft, shape, masters.__getitem__)


def _ends(draft: Path, base: Path) -> dict[str, Any]:
    """What ends a reply: as generation_config.json says, else the base's config.json."""
    for path in (draft / GENERATION_FILE, base / CONFIG_FILE):
        if path.is_file() and (ids := read_json(path).get("eos_token_id")) is not None:
            return {"eos_token_id": ids}
    return {}


def _write_settings(folder: Path, shape: Shape, eot_id: int, named: dict[str, int]) -> None:
    end_id = named.get(END_OF_TURN, eot_id)
    texts = {index: text for text, index in named.items()}
    write_json(folder / GENERATION_FILE, {"eos_token_id": sorted({end_id, eot_id}), "pad_token_id": eot_id})
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.max_seq_len,
        "eos_token": texts[end_id],
        "pad_token": texts[eot_id],
        "chat_template": CHATML,
    }
    write_json(folder / "tokenizer_config.json", settings)


def card_of(recipe: Recipe, shape: Shape, corpus: Corpus) -> Card:
    """The model's card: the licence that the recipe's [card] states, else its base's; its languages.

    What the base, a teacher or the adapter it began as forbids or warns of, it does too.
    """
    parent = read_card(base_folder(recipe)) if recipe.base else None
    languages = {one.language for one in corpus.sets.values() if not one.name.startswith("code.")}
    told = recipe.card
    own = Card(
        name=recipe.name,
        title=told.get("title", recipe.name),
        licence=told.get("licence", parent.licence if parent else UNKNOWN_LICENCE),
        licence_source=told.get(
            "licence_source",
            f"inherits from its base {parent.name}" if parent else f"recipe {recipe.name}",
        ),
        commercial_use=(parent is None or parent.commercial_use)
        and told.get("commercial_use", "yes" if parent else "no") == "yes",
        languages=parent.languages if parent else tuple(sorted(languages)),
        window_tokens=max(recipe.longest, parent.window_tokens if parent else 0),
        n_parameters=shape.n_parameters,
        source=None,
        default_read="select",
    )
    if recipe.teacher:
        own = inherited(own, find_teacher(recipe.teacher).card)
    if recipe.adapter and recipe.adapter.start:
        own = inherited(own, read_card(adapter_on_disk(recipe.adapter.start)))
    # Whoever loads an adapter adds what its base's card says; a model has no base any more.
    return inherited(own, parent) if parent and not recipe.adapter else own
