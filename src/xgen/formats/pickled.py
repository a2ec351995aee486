"""The tensors of a `pytorch_model.bin`, without running what a pickle may run.

torch.save writes a zip archive since 1.6 (torch/serialization.py): `data.pkl` says which tensors there are,
`data/0`, `data/1`, ... hold their numbers, not compressed. A pickle is a program, and Python's own reader
calls whatever it names. Here its opcodes are followed by a machine that knows tables, tuples, numbers, texts
and tensors, and six names; nothing that a file names is ever looked up or called.
"""

import io
import math
import mmap
import pickletools
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xgen.errors import BadModel
from xgen.formats.stored import DAMAGED, HOSTILE, StoredTensor
from xgen.formats.zip_entries import Entry, read_entries

LARGEST_PICKLE_BYTES = 1 << 23
"""Fifty times what the 1,138 tensors of a 405B model take."""

_STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
}
_TABLE = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_NAMES = {_TABLE, _TENSOR, _PARAMETER, *_STORAGES}
_ZIP = b"PK\3\4"
_OLD_WAY_OUT = "take the model's safetensors, or load it where you trust it and save it again with torch.save"


class _Fault(Exception):
    """What a pickle of tensors does not do."""


@dataclass(frozen=True)
class _Name:
    """A name that stands in the pickle."""

    text: str


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    n: int


@dataclass(frozen=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickled(path: Path) -> dict[str, StoredTensor]:
    """The tensors (fp32, fp16, bf16) of a file that torch.save wrote from a state dict, by name.

    Nothing but the list is read; `StoredTensor.read` brings the numbers. Raises BadModel for every other
    file: one in torch's form from before 1.6, a damaged one, and one whose pickle names, calls or holds
    anything but tensors.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[: len(_ZIP)] != _ZIP:
                what = "it is not a zip archive, as torch.save writes since 1.6"
                raise BadModel(str(path), what, _OLD_WAY_OUT)
            return _tensors(path, data)
    except (OSError, ValueError) as error:
        raise BadModel(str(path), f"it cannot be read ({error})", DAMAGED) from error


def _tensors(path: Path, data: mmap.mmap) -> dict[str, StoredTensor]:
    entries = read_entries(path, data)
    prefixes = {name.split("/")[0] for name in entries}
    if len(prefixes) != 1:
        raise BadModel(str(path), f"its entries lie under {len(prefixes)} names instead of one", DAMAGED)
    prefix = prefixes.pop()
    if f"{prefix}/constants.pkl" in entries:
        raise BadModel(str(path), "it is a program of TorchScript, not a file of tensors", _OLD_WAY_OUT)
    order = _content(path, data, entries, f"{prefix}/byteorder", 16, default=b"little")
    if order != b"little" or sys.byteorder != "little":
        raise BadModel(str(path), f"its byte order is {order!r}, not little-endian", _OLD_WAY_OUT)
    try:
        views = _state_dict(_content(path, data, entries, f"{prefix}/data.pkl", LARGEST_PICKLE_BYTES))
    except _Fault as error:
        raise BadModel(str(path), f"its pickle {error}", HOSTILE) from error
    except (ValueError, OverflowError) as error:  # what pickletools says of bytes that are no pickle
        raise BadModel(str(path), f"its pickle is damaged ({error})", DAMAGED) from error
    return {name: _stored(path, name, view, entries, prefix) for name, view in views.items()}


def _content(
    path: Path,
    data: mmap.mmap,
    entries: dict[str, Entry],
    name: str,
    limit: int,
    default: bytes | None = None,
) -> bytes:
    entry = entries.get(name)
    if entry is None:
        if default is None:
            raise BadModel(str(path), f"it has no {name}, so torch.save did not write it", DAMAGED)
        return default
    if entry.n_bytes > limit:
        raise BadModel(str(path), f"its {name} has {entry.n_bytes:,} bytes, above {limit:,}", HOSTILE)
    content = data[entry.start : entry.start + entry.n_bytes]
    if zlib.crc32(content) != entry.crc32:
        raise BadModel(str(path), f"the bytes of {name} are not those once written", DAMAGED)
    return content


def _stored(path: Path, name: str, view: _View, entries: dict[str, Entry], prefix: str) -> StoredTensor:
    storage = view.storage
    entry = entries.get(f"{prefix}/data/{storage.key}")
    if entry is None:
        raise BadModel(str(path), f"the numbers of {name} are missing", DAMAGED)
    if entry.n_bytes != storage.n * storage.dtype.itemsize:
        what = f"{name} is said to be of {storage.n:,} numbers and has {entry.n_bytes:,} bytes"
        raise BadModel(str(path), what, DAMAGED)
    highest = view.offset + sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True))
    if math.prod(view.shape) > storage.n or (0 not in view.shape and highest >= storage.n):
        raise BadModel(str(path), f"{name} reaches beyond its own numbers", HOSTILE)
    return StoredTensor(
        path=path,
        name=name,
        dtype=storage.dtype,
        shape=view.shape,
        strides=view.strides,
        offset=view.offset,
        start=entry.start,
        n_bytes=entry.n_bytes,
        crc32=entry.crc32,
    )


def _state_dict(pickle: bytes) -> dict[str, _View]:
    """The tensors that a pickle lists; _Fault for one that does anything else."""
    value = _Machine(pickle).run()
    if not isinstance(value, dict):
        raise _Fault("holds no table of tensors")
    for name, view in value.items():
        if not isinstance(view, _View):
            raise _Fault(f"holds {name!r}, which is no tensor")
    return value


class _Machine:
    """Follows the opcodes of a pickle (documented in pickletools), as far as tensors need them."""

    def __init__(self, pickle: bytes) -> None:
        self._pickle = pickle
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the pickle describes; ValueError where an opcode's argument is cut or malformed."""
        file = io.BytesIO(self._pickle)
        while code := file.read(1):
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise ValueError(f"there is no opcode {code!r}")
            if opcode.name == "STOP":
                if len(self._stack) != 1 or self._marks or file.read(1):
                    raise _Fault("does not end where it says")
                return self._stack[0]
            step = _STEPS.get(opcode.name)
            if step is None:  # its argument is not even read
                raise _Fault(f"asks for {opcode.name}, which no list of tensors needs")
            step(self, _argument(opcode, file))
        raise ValueError("it has no end")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the last value from the stack, not going below the last mark."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise _Fault("takes what was never put there")
        return self._stack.pop()

    def mark(self, _: Any) -> None:
        """Remember where the stack stands."""
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        if not self._marks:
            raise _Fault("takes what was never put there")
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def tuple_of(self, n: int) -> None:
        """Make a tuple of the last `n` values."""
        self.push(tuple(reversed([self.pop() for _ in range(n)])))

    def remember(self, index: Any) -> None:
        """Keep the last value under `index`, which stays on the stack."""
        value = self.pop()
        self.push(value)
        self._memo[len(self._memo) if index is None else index] = value

    def recall(self, index: Any) -> None:
        """Put a kept value on the stack."""
        if index not in self._memo:
            raise _Fault("recalls what was never kept")
        self.push(self._memo[index])

    def name(self, text: str) -> None:
        """Put a name on the stack, if it is one that tensors need."""
        if text not in _NAMES:
            raise _Fault(f"names {text[:80]}, which no list of tensors needs")
        self.push(_Name(text))

    def stack_name(self, _: Any) -> None:
        """Protocol 4's form of `name`: module and name lie on the stack."""
        name, module = self.pop(), self.pop()
        self.name(f"{_shown(module)}.{_shown(name)}")

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values into the table that lies on the stack."""
        table = self.pop()
        self.push(table)
        if not isinstance(table, dict) or len(items) % 2:
            raise _Fault("fills what is no table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) or key in table:
                raise _Fault(f"has the key {_shown(key)!r} twice, or it is no text")
            table[key] = value

    def storage(self, _: Any) -> None:
        """A persistent id: ("storage", kind, key, device, number of elements)."""
        said = self.pop()
        if not isinstance(said, tuple) or len(said) != 5 or said[0] != "storage":
            raise _Fault("refers to something that is no storage of numbers")
        _, kind, key, _, n = said
        if not isinstance(kind, _Name) or kind.text not in _STORAGES or not isinstance(key, str):
            shown = kind.text if isinstance(kind, _Name) else _shown(kind)
            raise _Fault(f"has numbers that are not of fp32, fp16 or bf16 ({shown})")
        self.push(_Storage(_STORAGES[kind.text], key, _whole(n)))

    def call(self, _: Any) -> None:
        """What torch.save would have called: the three makers of tables, tensors and parameters."""
        arguments, maker = self.pop(), self.pop()
        if not isinstance(maker, _Name) or not isinstance(arguments, tuple):
            raise _Fault("calls something that no list of tensors needs")
        match maker.text, arguments:
            case (text, ()) if text == _TABLE:
                self.push({})
            case (text, (_Storage() as storage, offset, shape, strides, bool(), dict(), *more)) if (
                text == _TENSOR and more in ([], [None])
            ):
                if (
                    not isinstance(shape, tuple)
                    or not isinstance(strides, tuple)
                    or len(shape) != len(strides)
                ):
                    raise _Fault("has a tensor without a shape")
                self.push(
                    _View(storage, _whole(offset), tuple(map(_whole, shape)), tuple(map(_whole, strides)))
                )
            case (text, (_View() as view, bool(), dict())) if text == _PARAMETER:
                self.push(view)
            case _:
                raise _Fault(f"calls {maker.text} with what no tensor needs")

    def build(self, _: Any) -> None:
        """The attribute `_metadata` of a state dict, which says versions of layers; left out."""
        state, table = self.pop(), self.pop()
        if not isinstance(table, dict) or not isinstance(state, dict) or set(state) != {"_metadata"}:
            raise _Fault("sets attributes that no list of tensors has")
        self.push(table)


def _argument(opcode: pickletools.OpcodeInfo, file: io.BytesIO) -> Any:
    if opcode.name == "GLOBAL":  # pickletools would expand escapes in it, which Python's own reader does not
        module, name = (file.readline() for _ in range(2))
        if not name.endswith(b"\n"):
            raise ValueError("it has no end")
        return f"{module[:-1].decode()}.{name[:-1].decode()}"
    return None if opcode.arg is None else opcode.arg.reader(file)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 48:
        raise _Fault(f"has {_shown(value)!r} where a size stands")
    return value


def _shown(value: Any) -> str:
    """A short value in words; of tuples the kind only, for forty that hold the last twice have no end."""
    return str(value)[:80] if isinstance(value, str | int) else type(value).__name__


_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_Step = Callable[[_Machine, Any], None]
_STEPS: dict[str, _Step] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(reversed([machine.pop(), machine.pop()]))),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "MARK": _Machine.mark,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), _Machine.push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.push),
}
