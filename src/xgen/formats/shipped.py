"""A small model in one file, as the package ships it: 8-bit weights, and the texts of its folder.

Each matrix [N, K] is int8 [N, K] with a scale for each row (model/int8.py); vectors stay fp32. The JSON
files of the folder, tokenizer and card among them, are deflated into one tensor of bytes.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xgen.cards import CARD_FILE
from xgen.errors import BadModel
from xgen.files import whole_file, whole_folder
from xgen.formats.folder import CONFIG_FILE, load_weights, parameter_shapes, read_shape, write_weights
from xgen.model.int8 import quantised

FORM = "1"
TEXTS = "texts"
_LARGEST_TEXTS_BYTES = 1 << 26
_KEPT = (CONFIG_FILE, CARD_FILE, "tokenizer.json", "tokenizer_config.json", "generation_config.json")
_WAY_OUT = "install the package again"


def pack_model(folder: Path, path: Path) -> None:
    """Write the model in `folder` as one file: half of what bf16 takes. Raises BadModel."""
    shape = read_shape(folder / CONFIG_FILE)
    tensors: dict[str, Tensor] = {}
    for name, weight in load_weights(folder, shape).items():
        if weight.ndim == 2:
            tensors[f"{name}.int8"], tensors[f"{name}.scale"] = quantised(weight)
        else:
            tensors[name] = weight.float()
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in _KEPT if (folder / name).exists()}
    deflated = zlib.compress(json.dumps(texts, ensure_ascii=False).encode(), 9)
    tensors[TEXTS] = torch.frombuffer(bytearray(deflated), dtype=torch.uint8)
    with whole_file(path) as draft:
        save_file(tensors, draft, {"form": FORM})


def expand_model(path: Path, folder: Path) -> None:
    """Make an ordinary model folder (bf16) of a shipped file; a folder that is there is left alone.

    Raises BadModel for a file that is damaged or of another form, NoRoom if the disk is full.
    """
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("form") != FORM:
                raise BadModel(str(path), "it is of another form", _WAY_OUT)
            inflater = zlib.decompressobj()
            texts = json.loads(
                inflater.decompress(file.get_tensor(TEXTS).numpy().tobytes(), _LARGEST_TEXTS_BYTES)
            )
            with whole_folder(folder) as draft:
                for name in _KEPT:
                    if name in texts:
                        (draft / name).write_text(texts[name], encoding="utf-8")
                shape = read_shape(draft / CONFIG_FILE)
                write_weights(draft, shape, lambda name: _weight(file, name, parameter_shapes(shape)[name]))
    except (OSError, ValueError, KeyError, TypeError, zlib.error, SafetensorError) as error:
        raise BadModel(str(path), f"it is damaged ({type(error).__name__}: {error})", _WAY_OUT) from error


def _weight(file: Any, name: str, size: tuple[int, ...]) -> Tensor:
    if len(size) != 2:
        weight: Tensor = file.get_tensor(name)
        return weight
    scaled: Tensor = (
        file.get_tensor(f"{name}.int8").float() * file.get_tensor(f"{name}.scale").float()[:, None]
    )
    return scaled
