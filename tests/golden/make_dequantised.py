"""Make ggml_dequantised.json: random blocks of each quantised type and the numbers ggml reads in them.

    python tests/golden/make_dequantised.py tests/golden/ggml_dequantised.json

Calls `to_float` of the ggml library inside llama-cpp-python, which shares no code with the Python
package gguf. Both are base64 of the raw little-endian bytes.
"""

import base64
import ctypes
import json
import platform
import sys
from pathlib import Path

import llama_cpp
import numpy as np

KINDS = {"Q8_0": 8, "Q4_1": 3, "Q5_0": 6, "Q4_K": 12, "Q6_K": 14}
# Byte offsets of the fp16 scales in a block, which get sane values instead of random bits.
SCALES = {"Q8_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}
N_BLOCKS = 3


class Traits(ctypes.Structure):
    """ggml_type_traits of ggml.h."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("block_interleave", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


def main() -> None:
    folder = Path(llama_cpp.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(next(folder.glob("libggml-base.*"))))
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    rng = np.random.default_rng(5)
    made = {}
    for name, number in KINDS.items():
        traits = ggml.ggml_get_type_traits(number).contents
        blocks = rng.integers(0, 256, (N_BLOCKS, traits.block_bytes), np.uint8)
        for start in SCALES[name]:
            scales = rng.normal(0, 0.02, N_BLOCKS).astype(np.float16)
            blocks[:, start : start + 2] = scales.view(np.uint8).reshape(N_BLOCKS, 2)
        floats = np.empty(N_BLOCKS * traits.block, np.float32)
        traits.to_float(blocks.ctypes.data, floats.ctypes.data, floats.size)
        assert traits.type_name.decode().upper() == name.upper()
        made[name] = {
            "blocks": base64.b64encode(blocks.tobytes()).decode(),
            "fp32": base64.b64encode(floats.tobytes()).decode(),
        }
    golden = {
        "made_by": "python tests/golden/make_dequantised.py tests/golden/ggml_dequantised.json",
        "llama_cpp_python": llama_cpp.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
        "kinds": made,
    }
    Path(sys.argv[1]).write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
