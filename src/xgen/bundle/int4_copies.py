"""The copies of weights in layers of 4 bits (model/int4.py), in the cache folder beside the 8-bit ones."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from xgen.bundle.finding import Found
from xgen.bundle.int8_copies import keep_copy, kept_copy, place_of_copy, weights_identity
from xgen.model.int4 import packed_weight
from xgen.show import progress

INT4_FORM = 2
"""Of the copies on the disk; those of another form are made anew."""


def kept_int4_weights(found: Found, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """NAME.packed and NAME.groups of the matrices that it is for, mapped from the cache folder.

    They are made of the file's `weights` (by our parameter names), changed by the adapter, and kept there at
    first. The order of their bytes is that of this torch on this CPU, so another one makes them anew.
    """
    path, model = place_of_copy(found, "-4")
    kernel = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
    of = f"{INT4_FORM} {kernel} {weights_identity(found.folder, found.adapter)}"
    if (kept := _kept(path, of)) is not None:
        return kept
    made: dict[str, Tensor] = {}
    matrices = [name for name, weight in weights.items() if weight.ndim == 2]
    with progress("packing in layers of 4 bits", len(matrices), "matrices") as advance:
        for name in matrices:
            if (pair := packed_weight(found.changed(weights[name], name))) is not None:
                short = name.removesuffix(".weight")
                made[f"{short}.packed"], made[f"{short}.groups"] = pair[0].view(torch.int8), pair[1]
            advance(1)
    kinds = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in made.items()}
    keep_copy(path, dict(sorted(kinds.items(), key=_packed_first)), made.items(), {"of": of, "model": model})
    kept = _kept(path, of)
    return {name: _as_packed(tensor) for name, tensor in made.items()} if kept is None else kept


def _packed_first(item: tuple[str, object]) -> bool:
    return not item[0].endswith(".packed")


def _as_packed(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8) if tensor.dtype == torch.int8 else tensor


def _kept(path: Path, of: str) -> dict[str, Tensor] | None:
    kept = kept_copy(path, of)
    return None if kept is None else {name: _as_packed(tensor) for name, tensor in kept.items()}
