"""PEFT's folder of a low-rank adapter: adapter_config.json, adapter_model.safetensors, and our card.json.

Every field of the configuration is either represented, known to change nothing, or off; anything else is
refused by name, so that an adapter is loaded exactly or not at all.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xgen.cards import CARDS, Card, write_card
from xgen.errors import BadModel
from xgen.files import write_whole
from xgen.formats.folder import foreign_name, parameter_shapes, read_json, write_json
from xgen.model.lora import TARGETS, Adapter
from xgen.model.shape import Shape

ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_WAY_OUT = "use a plain LoRA adapter of the linear maps, saved by peft or by xgen"
# Fields that may stand there with one of these values only: any other changes the computation.
_FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    "use_rslora": (True, False, None),
    # Others ("pissa", "olora", ...) have also changed the weights that the adapter is added to.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
}
_REPRESENTED = {"r", "lora_alpha", "target_modules", "base_model_name_or_path"}
# Training, book-keeping, or details of what is off.
_INERT = {
    *("auto_mapping", "inference_mode", "layers_pattern", "lora_dropout", "megatron_core", "peft_version"),
    *("qalora_group_size", "revision", "runtime_config"),
}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_HIGHEST_RANK = 1 << 12


def save_adapter(
    folder: Path, adapter: Adapter, card: Card, base: str, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write an adapter's three files into `folder`, its weights as `dtype`.

    `base` names the model that it was trained on, as a user can name it to `xgen read` or to peft. The card
    is the adapter's own: its licence is the base's, or that of the data if it is narrower.
    """
    from safetensors.torch import save

    tensors = {}
    for name, pair in adapter.weights.items():
        for part, tensor in zip("AB", pair, strict=True):
            tensors[_tensor_name(name, part)] = tensor.detach().to("cpu", dtype).contiguous()
    modules = {name.split(".")[-2] for name in adapter.weights}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": [_module_name(own) for own in TARGETS if own in modules],
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    # the library's save_file lets nobody else read what it writes
    write_whole(folder / ADAPTER_WEIGHTS_FILE, save(tensors, {"format": "pt"}))
    write_json(folder / ADAPTER_FILE, config)
    write_card(card, folder)


def load_adapter(folder: Path, shape: Shape, model: str = "") -> Adapter:
    """The adapter in a PEFT folder, for a decoder of `shape`, in its stored type.

    Raises BadModel for a missing or damaged file, for a field that cannot be represented, for every tensor
    that is missing, too many or of another shape, each by name, and for an adapter that was trained on
    another one of the known models than `model`.
    """
    path = folder / ADAPTER_FILE
    if not path.is_file():
        raise BadModel(str(folder), f"it has no {ADAPTER_FILE}", "name the folder of an adapter")
    config = read_json(path)
    base = config.get("base_model_name_or_path")
    if model in CARDS and isinstance(base, str) and base in CARDS and base != model:
        raise BadModel(str(folder), f"this adapter was trained on {base}, not on {model}", f"use {base}")
    for field, value in config.items():
        if field in _FIXED:
            if not any(value is known or value == known for known in _FIXED[field]):
                raise BadModel(str(path), f"{field} = {value!r} cannot be represented", _WAY_OUT)
        elif field not in _REPRESENTED | _INERT and value not in (None, False, {}, []):
            what = f"the field {field!r} is not known here and may change what the model computes"
            raise BadModel(str(path), what, _WAY_OUT)
    if config.get("peft_type") != "LORA":
        raise BadModel(str(path), "it does not say peft_type = LORA", _WAY_OUT)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= _HIGHEST_RANK:
        raise BadModel(str(path), f"r is {rank!r}, not a whole number above 0", _WAY_OUT)
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < float("inf"):
        raise BadModel(str(path), f"lora_alpha is {alpha!r}, not a number above 0", _WAY_OUT)
    if config.get("use_rslora"):  # Kalajdzievski 2023: alpha / sqrt(r)
        alpha = alpha * math.sqrt(rank)
    targets = _targets(config.get("target_modules"), path)
    return Adapter(rank, float(alpha), _weights(folder, shape, rank, targets))


def _tensor_name(name: str, part: str) -> str:
    """PEFT's name of A or B beside our weight `name`."""
    return f"{_PREFIX}{foreign_name(name).removesuffix('.weight')}.lora_{part}.weight"


def _module_name(own: str) -> str:
    return foreign_name(f"layers.0.{own}.weight").split(".")[-2]


def _targets(said: object, path: Path) -> tuple[str, ...]:
    """Which of a layer's maps the adapter changes, by our names.

    A list of the maps' names, or of their whole paths, as PEFT makes of "all-linear"; the tensors show then
    which they are. PEFT also takes a regular expression here, which is refused: not every one ends.
    """
    if said == "all-linear":
        return TARGETS
    if not isinstance(said, list) or not said or not all(isinstance(module, str) for module in said):
        raise BadModel(str(path), f"target_modules = {said!r} is not a list of the layers' maps", _WAY_OUT)
    known = {_module_name(own): own for own in TARGETS}
    last = [module.rpartition(".")[2] for module in said]
    if strange := sorted(set(last) - set(known)):
        raise BadModel(str(path), f"target_modules names {strange[0]!r}, which has no place", _WAY_OUT)
    return tuple(own for module, own in known.items() if module in last)


def _weights(
    folder: Path, shape: Shape, rank: int, targets: tuple[str, ...]
) -> dict[str, tuple[Tensor, Tensor]]:
    from safetensors import SafetensorError, safe_open

    path = folder / ADAPTER_WEIGHTS_FILE
    if not path.is_file():
        way_out = "name a folder with safetensors weights (pickled ones are not read)"
        raise BadModel(str(folder), f"it has no {ADAPTER_WEIGHTS_FILE}", way_out)
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        reason = f"not a whole safetensors file ({error})"
        raise BadModel(str(path), reason, "bring the file again") from error
    weights = {}
    for name, (n_out, *n_in) in parameter_shapes(shape).items():
        if not name.endswith(".weight") or name.split(".")[-2] not in targets:
            continue
        sizes = {"A": (rank, *n_in), "B": (n_out, rank)}
        a, b = (_taken(path, found, _tensor_name(name, part), size) for part, size in sizes.items())
        weights[name] = a, b
    if found:
        what = f"{len(found)} tensors have no place, first {sorted(found)[0]}"
        raise BadModel(str(path), what, _WAY_OUT)
    return weights


def _taken(path: Path, found: dict[str, Tensor], name: str, size: tuple[int, ...]) -> Tensor:
    tensor = found.pop(name, None)
    if tensor is None:
        raise BadModel(str(path), f"the tensor {name} is missing", _WAY_OUT)
    if tuple(tensor.shape) != size or tensor.dtype not in _FLOATS:
        what = f"{name} is {tensor.dtype} {list(tensor.shape)}, not floats {list(size)}"
        raise BadModel(str(path), f"{what}: it belongs to another model", _WAY_OUT)
    return tensor
