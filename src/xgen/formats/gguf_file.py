"""What a GGUF file holds: its values, and where its tensors lie. Nothing is believed before it fits the file.

The layout is that of ggml's docs/gguf.md, versions 2 and 3, little-endian. The library gguf has a reader
too, but it believes every length it finds, and takes 4 to 11 s for the tokens of a vocabulary, which are
read here in half a second; its names of types, its block sizes and its dequantisation are used.
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from xgen.errors import BadModel

# Far above any vocabulary, far below what would keep a machine busy over a damaged file.
LARGEST_ARRAY = 1 << 22
LARGEST_TEXT_BYTES = 1 << 24
LARGEST_COUNT = 1 << 16
DEFAULT_ALIGNMENT = 32

_NUMBERS = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the file: `shape` has its rows first, as in numpy; `start` counts bytes of the file."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    start: int
    n_bytes: int


@dataclass(frozen=True)
class GGUFFile:
    """The values by key, the tensors by name, and the file's bytes, mapped and not read."""

    path: Path
    values: dict[str, Any]
    tensors: dict[str, StoredTensor]
    data: mmap.mmap

    def raw_rows(self, tensor: StoredTensor) -> np.ndarray[Any, np.dtype[Any]]:
        """The tensor's stored bytes as uint8 [rows, bytes of a row]; a vector is one row."""
        n_rows = int(np.prod(tensor.shape[:-1]))
        flat = np.frombuffer(self.data, np.uint8, tensor.n_bytes, tensor.start)
        return flat.reshape(n_rows, -1)


class _Damaged(ValueError):
    """Something in the header that cannot be; the sentence for the user."""


def read_gguf(path: Path) -> GGUFFile:
    """Read the header of a GGUF file; BadModel if it is not one, is cut short or cannot be true."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise BadModel(str(path), "the file is empty", "fetch it again") from error
    except OSError as error:
        raise BadModel(str(path), error.strerror or "it cannot be read", "name a GGUF file") from error
    try:
        values, tensors = _parse(data)
    except _Damaged as error:
        raise BadModel(str(path), f"not a whole GGUF file ({error})", "fetch it again") from error
    return GGUFFile(path, values, tensors, data)


def _parse(data: mmap.mmap) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    cursor = _Cursor(data)
    if cursor.take(4) != b"GGUF":
        raise _Damaged("it does not begin with GGUF")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise _Damaged(f"its version is {version}, not 2 or 3 in little-endian order")
    n_tensors, n_values = cursor.number("<Q"), cursor.number("<Q")
    if max(n_tensors, n_values) > LARGEST_COUNT:
        raise _Damaged(f"it claims {n_tensors} tensors and {n_values} values")
    values: dict[str, Any] = {}
    for _ in range(n_values):
        key = cursor.text()
        if key in values:
            raise _Damaged(f"the key {key!r} stands in it twice")
        values[key] = cursor.value(cursor.kind(GGUFValueType))
    entries = [_entry(cursor) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise _Damaged(f"its alignment is {alignment}")
    base = -(-cursor.place // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for name, kind, shape, offset in entries:
        if name in tensors:
            raise _Damaged(f"the tensor {name!r} stands in it twice")
        tensors[name] = _placed(name, kind, shape, base + offset, len(data))
    return values, tensors


def _entry(cursor: "_Cursor") -> tuple[str, GGMLQuantizationType, tuple[int, ...], int]:
    name = cursor.text()
    n_axes = cursor.number("<I")
    if not 1 <= n_axes <= 4:
        raise _Damaged(f"the tensor {name!r} has {n_axes} axes")
    shape = tuple(cursor.number("<Q") for _ in range(n_axes))[::-1]
    return name, cursor.kind(GGMLQuantizationType), shape, cursor.number("<Q")


def _placed(
    name: str, kind: GGMLQuantizationType, shape: tuple[int, ...], start: int, file_bytes: int
) -> StoredTensor:
    block, block_bytes = GGML_QUANT_SIZES[kind]
    n_weights = 1
    for n in shape:  # Python's integers do not overflow, numpy's would
        n_weights *= n
    if n_weights == 0 or shape[-1] % block:
        raise _Damaged(f"the tensor {name!r} has the shape {list(shape)}")
    n_bytes = n_weights // block * block_bytes
    if start + n_bytes > file_bytes:
        raise _Damaged(f"the tensor {name!r} ends at byte {start + n_bytes:,} of {file_bytes:,}")
    return StoredTensor(name, kind, shape, start, n_bytes)


_K = TypeVar("_K", GGUFValueType, GGMLQuantizationType)


class _Cursor:
    """A place in the bytes that moves on with each thing read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0

    def take(self, n_bytes: int) -> bytes:
        end = self.place + n_bytes
        if end > len(self.data):
            raise _Damaged(f"it ends at byte {len(self.data):,}, within its header")
        piece = self.data[self.place : end]
        self.place = end
        return piece

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def kind(self, kinds: Callable[[int], _K]) -> _K:
        number = self.number("<I")
        try:
            return kinds(number)
        except ValueError as error:
            raise _Damaged(f"there is no type {number}") from error

    def text(self) -> str:
        n_bytes = self.number("<Q")
        if n_bytes > LARGEST_TEXT_BYTES:
            raise _Damaged(f"it claims a text of {n_bytes:,} bytes")
        try:
            return self.take(n_bytes).decode()
        except UnicodeDecodeError as error:
            raise _Damaged("a text in it is not UTF-8") from error

    def value(self, kind: GGUFValueType) -> Any:
        if kind == GGUFValueType.STRING:
            return self.text()
        if kind == GGUFValueType.ARRAY:
            return self._array()
        return self._numbers(kind, 1)[0]

    def _array(self) -> list[Any]:
        kind, length = self.kind(GGUFValueType), self.number("<Q")
        if length > LARGEST_ARRAY:
            raise _Damaged(f"it claims a list of {length:,} items")
        if kind == GGUFValueType.ARRAY:
            raise _Damaged("it holds a list of lists")
        if kind == GGUFValueType.STRING:
            return [self.text() for _ in range(length)]
        return self._numbers(kind, length)

    def _numbers(self, kind: GGUFValueType, length: int) -> list[Any]:
        form = np.dtype(_NUMBERS[kind])
        found: list[Any] = np.frombuffer(self.take(length * form.itemsize), form).tolist()
        return found
