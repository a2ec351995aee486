"""A tensor that lies in a file: what it is, where its bytes are, and how they become a tensor."""

import mmap
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xgen.errors import BadModel

DAMAGED = "bring the file again"
HOSTILE = "do not trust this file, and take the model's safetensors from its makers"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place: `n_bytes` of the file from `start` on hold its storage, little-endian.

    `offset` and `strides` count elements of the storage; all of them lie in it. `crc32` is the checksum of
    the storage's bytes, or None where the file has none.
    """

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    start: int
    n_bytes: int
    crc32: int | None = None

    def read(self) -> Tensor:
        """The tensor, mapped from the file: its memory is given back once nobody holds it any more.

        Only this tensor's storage is mapped, so that what a process holds is one tensor and not a file.
        Raises BadModel if the file has changed or its bytes are not those that were checksummed.
        """
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        skip = self.start % mmap.ALLOCATIONGRANULARITY
        try:
            with self.path.open("rb") as file:
                # Copy on write, since torch warns of memory that may not be written; nothing is written.
                region = mmap.mmap(
                    file.fileno(), skip + self.n_bytes, access=mmap.ACCESS_COPY, offset=self.start - skip
                )
        except (OSError, ValueError) as error:
            raise BadModel(str(self.path), f"{self.name} cannot be read ({error})", DAMAGED) from error
        data = memoryview(region)[skip:]
        if self.crc32 is not None and zlib.crc32(data) != self.crc32:
            raise BadModel(str(self.path), f"the bytes of {self.name} are not those once written", DAMAGED)
        storage = torch.frombuffer(data, dtype=self.dtype)
        return storage.as_strided(self.shape, self.strides, self.offset)
