"""The fields of a config.json that say how positions become angles: theta, and a scaling of the window.

They stand at the top and under `rope_scaling`, or since transformers 5 all under `rope_parameters`. Two ways
to scale are represented (model/shape.py: RopeScaling); all others are refused by name.
"""

from collections.abc import Callable
from typing import Any

from xgen.errors import BadModel
from xgen.model.shape import RopeScaling, Shape

Refuse = Callable[[str], BadModel]

DEFAULT_THETA = 10_000.0
_KIND_FIELDS = ("rope_type", "type")
_FIELDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def read_rope(config: dict[str, Any], refuse: Refuse) -> tuple[float, RopeScaling | None]:
    """Theta and the scaling in a configuration; `refuse` makes the error that is raised for any other."""
    thetas, scalings = [config.get("rope_theta")], []
    for field in ("rope_scaling", "rope_parameters"):
        table = config.get(field)
        if table is None:
            continue
        if not isinstance(table, dict):
            raise refuse(f"{field} is not a table of fields")
        thetas.append(table.get("rope_theta"))
        scalings.append(_scaling(field, table, refuse))
    said = {theta if isinstance(theta, int | float) else str(theta) for theta in thetas if theta is not None}
    if len(said) > 1 or len(set(scalings)) > 1:
        raise refuse("rope_theta, rope_scaling and rope_parameters say different things")
    theta = positive(said.pop() if said else DEFAULT_THETA, "rope_theta", refuse)
    return theta, scalings[0] if scalings else None


def _scaling(field: str, table: dict[str, Any], refuse: Refuse) -> RopeScaling | None:
    kinds = {str(table[name]) for name in _KIND_FIELDS if table.get(name) is not None} or {"default"}
    kind = " and ".join(sorted(kinds))
    if kind not in _FIELDS:
        raise refuse(f"{field} of the kind {kind} cannot be represented")
    fields = _FIELDS[kind]
    for name, value in table.items():
        if name == "partial_rotary_factor" and value != 1:
            raise refuse(f"{field} with partial_rotary_factor = {value!r} cannot be represented")
        if name not in (*fields, *_KIND_FIELDS, "rope_theta", "partial_rotary_factor") and value is not None:
            raise refuse(f"{field} of the kind {kind} with {name} = {value!r} cannot be represented")
    if kind == "default":
        return None
    numbers = [positive(table.get(name), f"{field}: {name}", refuse) for name in fields]
    if numbers[0] < 1:
        raise refuse(f"{field}: factor is {numbers[0]}, below 1")
    if kind == "linear":
        return RopeScaling(numbers[0])
    factor, low, high, original = numbers
    if not low < high or not original.is_integer():
        raise refuse(f"{field}: low_freq_factor {low}, high_freq_factor {high}, window {original} cannot be")
    return RopeScaling(factor, low, high, int(original))


def rope_fields(shape: Shape) -> dict[str, Any]:
    """The fields for `shape`, in the form that transformers 4 and 5 both read."""
    scaling = shape.rope_scaling
    if scaling is None:
        return {"rope_theta": shape.rope_theta}
    numbers = [scaling.factor]
    if scaling.original_window:
        numbers += [scaling.low_frequency, scaling.high_frequency, scaling.original_window]
    kind = "llama3" if scaling.original_window else "linear"
    table = {"rope_type": kind, **dict(zip(_FIELDS[kind], numbers, strict=True))}
    return {"rope_theta": shape.rope_theta, "rope_scaling": table}


def positive(value: object, field: str, refuse: Refuse) -> float:
    """`value` as a number above 0, or the error that names `field`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise refuse(f"{field} is {value!r}, not a number above 0")
    return float(value)
