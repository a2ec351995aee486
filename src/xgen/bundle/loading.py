"""A model with all that belongs to it, from a folder or by name, ready to generate."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch

from xgen.bundle.finding import Found, end_ids, find
from xgen.bundle.int4_copies import INT4_FORM, kept_int4_weights
from xgen.bundle.int8_copies import INT8_FORM, kept_int8_weights, weights_identity
from xgen.cards import Card, allows, why
from xgen.engine.cache import LONG, Cache, default_dtype
from xgen.engine.free import NAMES, TYPES, require_cache, require_weights, told
from xgen.engine.machine import (
    Choice,
    Clock,
    all_threads,
    bound_kept_shapes,
    choice_for,
    choose,
    leave_busy_cores,
)
from xgen.engine.speculate import LONGEST_DRAFT
from xgen.errors import BadModel, XgenError
from xgen.formats.folder import load_weights
from xgen.model.attention import attend_for
from xgen.model.int4 import WeightInt4, add_int4
from xgen.model.int8 import FEW_ROWS, add_int8
from xgen.model.keys_values import even_keys
from xgen.model.memory import Setting, token_bytes, weight_bytes
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer
from xgen.show import note
from xgen.text.chat import ChatTemplate
from xgen.text.tokenizer import Tokenizer

INT8 = "int8"
LARGE = 4 * 10**9
"""Of weights of so many bytes it is said before they are loaded what they take."""

DTYPES = {name: dtype for name, dtype in TYPES.items() if name != INT8}


@dataclass(frozen=True)
class Bundle:
    """A loaded model. `end_ids` end a reply, `hidden_ids` are never to be sampled.

    `adapter` is the folder of the adapter that its weights are changed by, if there is one; the `card`
    is then the adapter's. The weights are 8 bits (model/int8.py) with `int8_only`, and `dtype` is that of
    the activations; else they are of `dtype`, and up to `int8_rows` tokens at once pass through copies of
    8 bits. Keys and values are kept in `cache_dtype`, which may be int8, where there is room for LONG texts
    (engine/cache.py) in `long_cache_dtype`.

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
    int8_only: bool
    cache_dtype: torch.dtype
    long_cache_dtype: torch.dtype
    end_ids: frozenset[int]
    hidden_ids: frozenset[int]

    @cached_property
    def identity(self) -> str:
        """Tells these weights in this type, with such a cache, from all others, without reading them all."""
        weights = weights_identity(self.folder, self.adapter)
        types = f"{self.dtype} {self.cache_dtype} {self.int8_rows} {self.int8_only}"
        form = str(INT8_FORM) if self.int8_rows or self.int8_only else ""
        if any(isinstance(module, WeightInt4) for module in self.model.modules()):
            form += f" {INT4_FORM}"
        kind = f"{types} {form} {self.shape} {weights}"
        return hashlib.sha256(kind.encode()).hexdigest()

    @property
    def setting(self) -> Setting:
        """In what the model is held."""
        weights = INT8 if self.int8_only else NAMES[self.dtype]
        return Setting(weights, NAMES[self.cache_dtype], NAMES[self.dtype])

    def cache_dtype_for(self, capacity: int) -> torch.dtype:
        """In what so many tokens are kept."""
        return self.cache_dtype if capacity < LONG else self.long_cache_dtype

    def empty_cache(self, capacity: int) -> Cache:
        """Room for the keys and values of `capacity` tokens; XgenError if there is not so much memory."""
        dtype = self.cache_dtype_for(capacity)
        require_cache(self.shape, replace(self.setting, cache=NAMES[dtype]), capacity, self.device)
        return Cache.empty(self.model, capacity, dtype)

    def cache_bytes(self, n_tokens: int) -> int:
        """What the keys and values of `n_tokens` take."""
        return n_tokens * token_bytes(self.shape, NAMES[self.cache_dtype_for(n_tokens)])

    @property
    def longest_draft(self) -> int:
        """How many ids may be guessed at once: a pass that checks them must go through the same weights.

        None by a small model on a GPU: launched one by one, such a pass takes longer than as many tokens do
        by a graph (engine/graphs.py).
        """
        if self.device.type == "cuda" and weight_bytes(self.shape, self.setting) < LARGE:
            return 0
        return min(self.int8_rows - 1, LONGEST_DRAFT) if self.int8_rows else LONGEST_DRAFT


def load(
    name_or_folder: str | Path,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | Path | None = None,
    cache: str = "auto",
) -> Bundle:
    """Load a pulled model by name, or any Llama or Qwen2 folder, ready to generate.

    `device` is "auto" (a CUDA device if there is one, else the CPU), "cpu", "cuda" or "cuda:1";
    `dtype` is "auto" (what the device computes fastest, on a CPU with 8-bit weights for passes of few
    rows where they pay), "bf16", "fp16" or "fp32" (that and nothing else), or "int8" (8-bit weights alone,
    which take half the memory; activations in what the device computes fastest). Weights in the stored
    type stay mapped to the file on a CPU, 8-bit ones to their copy in the cache folder. `adapter` is a PEFT
    folder, whose low-rank weights are added to the model's in fp32; a name of ADAPTED has its own. `cache`
    is what keys and values are kept in: "auto" (fp32 on a CPU, for long texts bf16 where it computes in
    that; the activations' type elsewhere), "fp32", "bf16", "fp16" or "int8". Raises NotPulled for a known
    model that is not on disk, BadModel for an unknown or damaged one and for an adapter of another,
    XgenError for a device or type that is not there and for weights that the memory does not hold.
    """
    started = Clock.now()
    found = find(name_or_folder, adapter)
    folder, shape = found.folder, found.shape
    place, choice, cache_dtype = place_and_types(device, dtype, cache)
    weights = INT8 if choice.int8_only else NAMES[choice.dtype]
    setting = Setting(weights, NAMES[cache_dtype], NAMES[choice.dtype])
    require_weights(found.card.name, shape, setting, place)
    if weight_bytes(shape, setting) >= LARGE:  # it takes a while
        note(told(found.card.name, shape, setting, shape.max_seq_len, place))
    if (allowed := allows(found.card, "commercial")) is not True:
        isnt = "is not known to allow" if allowed is None else "does not allow"
        _say_once(f"{found.card.name} {isnt} commercial use: {why(found.card, 'commercial')}")
    tokenizer = Tokenizer.from_folder(folder)
    if tokenizer.vocab_size > shape.vocab_size:
        what = f"its tokenizer has {tokenizer.vocab_size} ids for {shape.vocab_size} rows"
        raise BadModel(str(folder), what, "bring the folder again")
    ends = frozenset(end_ids(folder, shape))
    nameless = (i for i in range(shape.vocab_size) if not tokenizer.token_bytes(i))
    model = _model(found, place, choice)
    if cache_dtype == torch.int8:
        even_keys(model)
    if place.type == "cpu" and (n_threads := leave_busy_cores(started)) < all_threads():
        note(f"other programs keep cores busy: computing on {n_threads} of {all_threads()}")
    return Bundle(
        card=found.card,
        folder=folder,
        adapter=found.adapter,
        shape=shape,
        model=model,
        tokenizer=tokenizer,
        template=ChatTemplate.from_folder(folder),
        device=place,
        dtype=choice.dtype,
        int8_rows=choice.int8_rows,
        int8_only=choice.int8_only,
        cache_dtype=cache_dtype,
        long_cache_dtype=_cache_dtype(place, choice, cache, LONG),
        end_ids=ends,
        hidden_ids=frozenset(nameless) - ends,
    )


@lru_cache
def _say_once(text: str) -> None:
    note(text)


def place_and_types(
    device: str, dtype: str, cache: str, capacity: int = 0
) -> tuple[torch.device, Choice, torch.dtype]:
    """Where and in what `load` computes and keeps `capacity` tokens, by the same names; raises as it does."""
    bound_kept_shapes()
    place = _device(device)
    choice = _choice(place, dtype)
    return place, choice, _cache_dtype(place, choice, cache, capacity)


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


def _choice(device: torch.device, dtype: str) -> Choice:
    if dtype not in ("auto", *TYPES):
        raise XgenError(f"type {dtype!r}", "it is not known", "use auto, " + ", ".join(TYPES))
    if dtype not in ("auto", INT8):
        if device.type == "cuda" and TYPES[dtype] == torch.bfloat16 != choose(device).dtype:
            _say_once(f"{torch.cuda.get_device_name(device)} has no bf16 of its own: --dtype fp16 is faster")
        return Choice(TYPES[dtype], 0, {})
    choice = choice_for(device)
    if dtype == INT8:
        return replace(choice, int8_rows=FEW_ROWS if device.type == "cpu" else 0, int8_only=True)
    return choice


def _cache_dtype(device: torch.device, choice: Choice, cache: str, capacity: int) -> torch.dtype:
    if cache not in ("auto", *TYPES):
        raise XgenError(f"cache {cache!r}", "it is not known", "use auto, " + ", ".join(TYPES))
    return default_dtype(device, choice.dtype, capacity) if cache == "auto" else TYPES[cache]


def _model(found: Found, device: torch.device, choice: Choice) -> Transformer:
    weights = load_weights(found.folder, found.shape)
    with torch.device("meta"):  # no memory and no random numbers for what is replaced at once
        model = Transformer(found.shape, attend_for(device))
    try:
        placed = {
            name: found.changed(tensor.to(device), name).to(choice.dtype)
            for name, tensor in weights.items()
            if tensor.ndim == 1 or not choice.int8_only
        }
        model.load_state_dict(placed, assign=True, strict=not choice.int8_only)
        if choice.int4 and not choice.int8_only:
            add_int4(model, kept_int4_weights(found, weights), choice.int8_rows)
        if choice.int8_rows or choice.int8_only:
            int8 = kept_int8_weights(found, weights, device, alone=choice.int8_only)
            int8 = {name: tensor.to(device) for name, tensor in int8.items()}
            add_int8(model, int8, choice.int8_rows, alone=choice.int8_only)
    except torch.OutOfMemoryError as error:  # what was free is no more
        n_bytes = found.shape.weight_bytes(1 if choice.int8_only else choice.dtype.itemsize)
        needed = f"{n_bytes / 1e6:,.0f} MB of weights do not fit on {device}"
        raise XgenError(str(found.folder), needed, "use a smaller model, or the CPU") from error
    return model.requires_grad_(False).eval()
