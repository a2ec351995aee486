"""CUDA C to a kernel that runs: compiled by NVRTC, which torch brings, in about a second, then kept.

Both libraries are called by ctypes: NVRTC (docs.nvidia.com/cuda/nvrtc) and the driver's interface
(docs.nvidia.com/cuda/cuda-driver-api). Compiling needs no GPU.
"""

import ctypes
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from xgen.errors import XgenError
from xgen.files import cache_folder, write_whole

FOLDER = Path(__file__).parent
SOURCES = {
    "products": ("device.cu", "pairs.cu", "pairs_16.cu", "pairs_int8.cu", "products.cu"),
    "step": ("device.cu", "step.cu"),
    "rows": ("device.cu", "rows.cu"),
}
Defines = Mapping[str, int | None]
"""Macros of a compilation: a number, or None for a bare name."""


class CannotCompile(XgenError):
    """A kernel cannot be compiled or loaded here; who calls goes on with torch's own."""


class Kernels(Protocol):
    """Kernels by their names, whatever runs them."""

    def launch(
        self, name: str, grid: tuple[int, int], threads: int, shared_bytes: int, *arguments: Any
    ) -> None:
        """Start one behind those that were started before; see `packed` for its arguments."""


def source_of(part: str) -> str:
    """The CUDA C of a part of SOURCES."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SOURCES[part])


def cubin(part: str, defines: Defines, capability: tuple[int, int]) -> bytes:
    """Machine code of a part for a device of that compute capability.

    From the cache folder, if this source was compiled before. Raises CannotCompile.
    """
    source, compiler = source_of(part), _nvrtc()
    options = [f"--gpu-architecture=sm_{capability[0]}{capability[1]}", *macros(source, defines)]
    digest = hashlib.sha256("\0".join([_version(compiler), *options, source]).encode()).hexdigest()
    path = cache_folder() / "kernels" / f"{digest}.cubin"
    with suppress(OSError):
        return path.read_bytes()
    code = _compile(compiler, source, options)
    with suppress(OSError, XgenError):  # a disk that is full costs a second the next time
        write_whole(path, code)
    return code


def macros(source: str, defines: Defines) -> list[str]:
    """A compiler's options for those of `defines` that occur in a source."""
    named = sorted(name for name in defines if re.search(rf"\b{name}\b", source))
    return [f"-D{name}" if defines[name] is None else f"-D{name}={defines[name]}" for name in named]


def _version(nvrtc: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _compile(nvrtc: ctypes.CDLL, source: str, options: Sequence[str]) -> bytes:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        words = [option.encode() for option in options]
        if nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words)):
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            said = log.value.decode(errors="replace").strip() or f"{options[0]} is not known to it"
            raise CannotCompile("a kernel", f"NVRTC does not compile it: {said}", "report it")
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, code)
        return code.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def _nvrtc() -> ctypes.CDLL:
    """NVRTC as a package has brought it (torch's is one), else what the system finds by its name.

    It looks for its own second library by name, so that is loaded before it.
    """
    places = ("nvidia/*/lib/libnvrtc.so.[0-9]*", "torch/lib/nvrtc64_*0.dll")
    found = (path for folder in map(Path, sys.path) for place in places for path in folder.glob(place))
    for path in sorted(found, reverse=True):  # the newest
        with suppress(OSError):
            for second in sorted(path.parent.glob("*nvrtc-builtins*")):
                if ".alt." not in second.name:
                    ctypes.CDLL(str(second))
            return ctypes.CDLL(str(path))
    with suppress(OSError):
        return ctypes.CDLL(f"libnvrtc.so.{(torch.version.cuda or '13').split('.')[0]}")
    raise CannotCompile("CUDA", "its compiler NVRTC is not here", "install nvidia-cuda-nvrtc")


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def most_shared_bytes(device: torch.device) -> int:
    """Shared memory that a block may have on a CUDA device, if it asks for it."""
    torch.zeros(1, device=device)  # makes torch start the driver
    index = torch.cuda.current_device() if device.index is None else device.index
    handle, found = ctypes.c_int(), ctypes.c_int()
    _driver().cuDeviceGet(ctypes.byref(handle), index)
    _driver().cuDeviceGetAttribute(ctypes.byref(found), MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, handle)
    return found.value


def on_device(part: str, defines: Defines, device: torch.device) -> "OnDevice":
    """The kernels of a part, loaded once a process: each text has a decoder, and no module is unloaded."""
    return _loaded(part, tuple(sorted(defines.items())), device)


@cache
def _loaded(part: str, defines: tuple[tuple[str, int | None], ...], device: torch.device) -> "OnDevice":
    return OnDevice(part, dict(defines), device)


class OnDevice:
    """Kernels of one part on one CUDA device, launched on torch's current stream.

    From Hopper on a kernel may start before the one in front of it has ended, also behind those of
    libraries: each of ours waits before it touches what another one makes (CUDA C Programming Guide,
    Programmatic Dependent Launch).
    """

    def __init__(self, part: str, defines: Defines, device: torch.device) -> None:
        torch.zeros(1, device=device)  # makes torch's context the current one
        capability = torch.cuda.get_device_capability(device)
        self._device, self._may_overlap = device, capability >= (9, 0)
        self._driver = _driver()
        self._module, self._functions = ctypes.c_void_p(), dict[str, ctypes.c_void_p]()
        self._shared_bytes = dict[str, int]()
        code = cubin(part, defines, capability)
        with torch.cuda.device(device):
            self._checked(self._driver.cuModuleLoadData(ctypes.byref(self._module), code))

    def launch(
        self, name: str, grid: tuple[int, int], threads: int, shared_bytes: int, *arguments: Any
    ) -> None:
        """Start a kernel on the current stream; `shared_bytes` is what it takes beside its own arrays."""
        attribute = _Attribute(PROGRAMMATIC_STREAM_SERIALIZATION, 0, 1)
        config = _Config(
            *(*grid, 1, threads, 1, 1, shared_bytes),
            torch.cuda.current_stream(self._device).cuda_stream,
            ctypes.pointer(attribute),
            1 if self._may_overlap else 0,
        )
        with torch.cuda.device(self._device):
            function = self._function(name, shared_bytes)
            given = packed(arguments)  # held until the launch has copied them
            self._checked(self._driver.cuLaunchKernelEx(ctypes.byref(config), function, given.pointers, None))

    def _function(self, name: str, shared_bytes: int) -> ctypes.c_void_p:
        if name not in self._functions:
            function = ctypes.c_void_p()
            self._checked(
                self._driver.cuModuleGetFunction(ctypes.byref(function), self._module, name.encode())
            )
            self._set(function, PREFERRED_SHARED_MEMORY_CARVEOUT, 100)  # alike, or they cannot overlap
            self._functions[name] = function
        if shared_bytes > self._shared_bytes.get(name, 0):
            self._set(self._functions[name], MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes)
            self._shared_bytes[name] = shared_bytes
        return self._functions[name]

    def _set(self, function: ctypes.c_void_p, attribute: int, value: int) -> None:
        self._checked(self._driver.cuFuncSetAttribute(function, attribute, value))

    def _checked(self, result: int) -> None:
        if result:
            said = ctypes.c_char_p()
            self._driver.cuGetErrorString(result, ctypes.byref(said))
            raise CannotCompile("a kernel", (said.value or b"error").decode(), "report it")


PROGRAMMATIC_STREAM_SERIALIZATION = 6
"""CU_LAUNCH_ATTRIBUTE_... of cuda.h."""

MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97
"""CU_DEVICE_ATTRIBUTE_... of cuda.h."""

MAX_DYNAMIC_SHARED_SIZE_BYTES, PREFERRED_SHARED_MEMORY_CARVEOUT = 8, 9
"""CU_FUNC_ATTRIBUTE_... of cuda.h; the second in percent."""


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute: an id, and 64 bytes of which an int is used."""

    _fields_ = [
        ("id", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("value", ctypes.c_int),
        ("rest", ctypes.c_int * 15),
    ]


class _Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("n_attributes", ctypes.c_uint),
    ]


class Packed:
    """Arguments where a launch looks for them; the pointers hold as long as this object."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        addresses = [ctypes.addressof(value) for value in values]
        self.pointers = (ctypes.c_void_p * len(addresses))(*addresses)


def packed(arguments: Sequence[Any]) -> Packed:
    """Arguments as CUDA C takes them: of a tensor its address, of None a null pointer; int and float.

    Values of ctypes go as they are.
    """
    return Packed([_as_c(argument) for argument in arguments])


def _as_c(argument: Any) -> Any:
    if argument is None:
        return ctypes.c_void_p()
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, int):
        return ctypes.c_int(argument)
    return ctypes.c_float(argument) if isinstance(argument, float) else argument
