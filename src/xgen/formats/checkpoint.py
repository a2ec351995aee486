"""The tensors of a folder as strangers publish it: safetensors or pickled, one file or shards."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from xgen.errors import BadModel
from xgen.formats.folder import (
    INDEX_FILE,
    ROTARY_BUFFER,
    WEIGHTS_FILE,
    by_our_names,
    foreign_name,
    parameter_shapes,
    placed,
    read_json,
    shard_files,
    shard_names,
)
from xgen.formats.pickled import read_pickled
from xgen.formats.stored import DAMAGED, StoredTensor
from xgen.model.shape import Shape

PICKLED_FILE = "pytorch_model.bin"
PICKLED_INDEX_FILE = "pytorch_model.bin.index.json"
FORMS = ((INDEX_FILE, WEIGHTS_FILE), (PICKLED_INDEX_FILE, PICKLED_FILE))
"""How weights may be published, as shards with an index or in one file, the form to be preferred first."""

_ONE_REVISION = "bring the index and all shards of one revision"
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights: safetensors if there are any, else pickled ones.

    Raises BadModel if there are none, or if an index names one that is missing or outside the folder.
    """
    return _indexed(folder)[1]


def _indexed(folder: Path) -> tuple[Path | None, list[Path]]:
    """The index, if there is one, and the files."""
    for index, single in FORMS:
        if (folder / index).is_file():
            return folder / index, shard_files(folder / index)
        if (folder / single).is_file():
            return None, [folder / single]
    names = ", ".join(name for form in FORMS for name in form)
    raise BadModel(str(folder), f"it has none of {names}", "name a folder that holds a model's weights")


def read_checkpoint(folder: Path, shape: Shape) -> dict[str, StoredTensor]:
    """Where each of our parameters lies in `folder`; nothing but headers is read.

    Raises BadModel for a file that is damaged or hostile, for shards that are not what their index says,
    and for every tensor that is missing, too many, of another shape or no float.
    """
    index, files = _indexed(folder)
    found: dict[str, StoredTensor] = {}
    for path in files:
        tensors = _read_file(path)
        if twice := sorted(set(tensors) & set(found)):
            raise BadModel(str(path), f"{twice[0]} stands in two files", _ONE_REVISION)
        found |= tensors
    if index is not None:
        _require_as_indexed(index, found)
    return by_our_names(folder, shape, found, lambda one, other: torch.equal(one.read(), other.read()))


def parameters_by_shard(index: Path, shape: Shape) -> dict[str, set[str]]:
    """Which of our parameters each file holds that an index names."""
    ours = {foreign_name(name): name for name in parameter_shapes(shape)}
    found: dict[str, set[str]] = {file: set() for file in shard_names(index)}
    for name, file in read_json(index)["weight_map"].items():
        found[file] |= {ours[name]} if name in ours else set()
    return found


def read_shard(path: Path, index: Path, shape: Shape) -> dict[str, StoredTensor]:
    """Where those of our parameters lie that one file of an index holds; BadModel as `read_checkpoint`."""
    tensors = _read_file(path)
    said = {name for name, file in read_json(index)["weight_map"].items() if file == path.name}
    if odd := sorted(said ^ set(tensors)):
        raise BadModel(str(path), f"its index and it do not agree about {odd[0]}", _ONE_REVISION)
    return placed(path, shape, tensors)


def _read_file(path: Path) -> dict[str, StoredTensor]:
    return read_pickled(path) if path.suffix == ".bin" else read_safetensors(path)


def _require_as_indexed(index: Path, found: dict[str, StoredTensor]) -> None:
    table = read_json(index)
    for name, file in table["weight_map"].items():
        if name not in found or found[name].path.name != file:
            raise BadModel(str(index), f"it says that {name} is in {file}, where it is not", _ONE_REVISION)
    metadata = table.get("metadata")
    said = metadata.get("total_size") if isinstance(metadata, dict) else None
    if said is None:
        return
    sizes = {name: math.prod(one.shape) * one.dtype.itemsize for name, one in found.items()}
    buffers = sum(size for name, size in sizes.items() if name.endswith(ROTARY_BUFFER))
    total = sum(sizes.values())
    head = sizes.get("lm_head.weight", 0)
    # Tools differ in whether they count buffers, and a head that shares the embedding's numbers.
    if said not in {total, total - buffers, total - head, total - buffers - head}:
        raise BadModel(str(index), f"it says {said} bytes of tensors, there are {total:,}", _ONE_REVISION)


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors (fp32, fp16, bf16) of a safetensors file, by name; BadModel for any other file.

    The library checks the header against the file; where a tensor begins it does not tell.
    """
    try:
        with safe_open(path, framework="pt"):
            pass
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(n_header))
    except (SafetensorError, OSError, ValueError) as error:
        raise BadModel(str(path), f"not a whole safetensors file ({error})", DAMAGED) from error
    header.pop("__metadata__", None)
    tensors = {}
    for name, said in header.items():
        if said["dtype"] not in _DTYPES:
            way_out = "take the model in fp32, fp16 or bf16"
            raise BadModel(str(path), f"{name} is of the type {said['dtype']}", way_out)
        shape, (start, end) = tuple(said["shape"]), said["data_offsets"]
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        tensors[name] = StoredTensor(
            path, name, _DTYPES[said["dtype"]], shape, strides, 0, 8 + n_header + start, end - start
        )
    return tensors
