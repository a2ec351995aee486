"""Models for the tests: tiny ones made here, real ones that are on disk already."""

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = "<tool_call>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let children hear Ctrl-C also where this process was started in the background, deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pulled() -> Callable[[str], Path]:
    """The folder of a model of strangers; the test skips where it has not been pulled."""
    from xgen.files import model_folder

    def find(name: str) -> Path:
        if not (model_folder(name)).is_dir():
            pytest.skip(f"{name} is not on disk: xgen pull {name}")
        return model_folder(name)

    return find


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Any]]:
    return lambda name: json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def vocabulary() -> dict[str, Any]:
    """Tokens, kinds and merges of a byte-level BPE of 320 rows, as a GGUF file holds them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[*SPECIALS, USER_DEFINED],
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["the reader reads the document, naïve 日本 and quotes the reader"] * 9, trainer
    )
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    kinds = [3] * len(SPECIALS) + [4] + [1] * (len(tokens) - len(SPECIALS) - 1)
    unused = 320 - len(tokens)
    return {
        "tokens": tokens + [f"[PAD{len(tokens) + i}]" for i in range(unused)],
        "kinds": kinds + [5] * unused,
        "merges": [" ".join(merge) for merge in model["merges"]],
    }


@pytest.fixture
def make_gguf(vocabulary: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny GGUF file with the library's writer; `values` and `tensors` replace or add, None drops."""

    def make(
        architecture: str = "llama",
        kind: str = "F32",
        head: str | None = None,
        values: dict[str, Any] | None = None,
        tensors: dict[str, np.ndarray | None] | None = None,
    ) -> Path:
        import gguf

        path = tmp_path / f"{architecture}.gguf"
        writer = gguf.GGUFWriter(str(path), architecture)
        own: dict[str, Any] = {
            f"{architecture}.block_count": 2,
            f"{architecture}.context_length": 128,
            f"{architecture}.embedding_length": 64,
            f"{architecture}.feed_forward_length": 96,
            f"{architecture}.attention.head_count": 4,
            f"{architecture}.attention.head_count_kv": 2,
            f"{architecture}.attention.layer_norm_rms_epsilon": 1e-6,
            f"{architecture}.rope.freq_base": 5000.0,
            f"{architecture}.vocab_size": 320,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "qwen2" if architecture == "qwen2" else "smollm",
            "tokenizer.ggml.tokens": vocabulary["tokens"],
            "tokenizer.ggml.token_type": vocabulary["kinds"],
            "tokenizer.ggml.merges": vocabulary["merges"],
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.padding_token_id": 0,
            "tokenizer.chat_template": CHATML,
        } | (values or {})
        for key, value in own.items():
            _add_value(writer, key, value)
        for name, array in (_weights(architecture, head) | (tensors or {})).items():
            if array is None:
                continue
            stored = gguf.GGMLQuantizationType[kind if array.ndim == 2 else "F32"]
            data = gguf.quants.quantize(array, stored)
            writer.add_tensor(name, data, raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


def _add_value(writer: Any, key: str, value: Any) -> None:
    if value is None:
        return
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add.get(type(value), writer.add_array)(key, value)


def _weights(architecture: str, head: str | None) -> dict[str, np.ndarray]:
    """Random weights, large enough that a wrong place shows; `head` is None, "same" or "other"."""
    rng = np.random.default_rng(7)

    def normal(*size: int) -> np.ndarray:
        return rng.normal(0, 0.2, size).astype(np.float32)

    weights = {"token_embd.weight": normal(320, 64), "output_norm.weight": 1 + normal(64)}
    if head:
        weights["output.weight"] = weights["token_embd.weight"] if head == "same" else normal(320, 64)
    for index in range(2):
        sizes = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64)}
        sizes |= {"ffn_gate": (96, 64), "ffn_up": (96, 64), "ffn_down": (64, 96)}
        for part, size in sizes.items():
            weights[f"blk.{index}.{part}.weight"] = normal(*size)
            if architecture == "qwen2" and part in ("attn_q", "attn_k", "attn_v"):
                weights[f"blk.{index}.{part}.bias"] = normal(size[0])
        for part in ("attn_norm", "ffn_norm"):
            weights[f"blk.{index}.{part}.weight"] = 1 + normal(64)
    return weights


@pytest.fixture
def tiny_folder(make_gguf: Callable[..., Path], tmp_path: Path) -> Path:
    """A tiny random Llama as a Hugging Face folder, with tokenizer and chat template."""
    from xgen.formats.gguf import convert

    convert(make_gguf(), tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def matrices_in_8_bits() -> Callable[[Any], dict[str, Any]]:
    """What `add_int8` takes, of a model in memory."""
    from xgen.model.int8 import quantised_weight

    def found(model: Any) -> dict[str, Any]:
        matrices = {name: p.detach() for name, p in model.named_parameters() if p.ndim == 2}
        return {
            f"{name.removesuffix('.weight')}.{part}": tensor
            for name, weight in matrices.items()
            for part, tensor in zip(("int8", "scale"), quantised_weight(weight), strict=True)
        }

    return found


@pytest.fixture
def adapter(tiny_folder: Path, tmp_path: Path) -> Path:
    """An adapter of the tiny model that changes something."""
    from xgen.bundle import load
    from xgen.cards import CARDS
    from xgen.formats.adapter import save_adapter
    from xgen.model.lora import Adapter, new_adapter

    fresh = new_adapter(load(tiny_folder, device="cpu", dtype="fp32").model, 2, 4.0, seed=0)
    weights = {name: (a, b + 0.03) for name, (a, b) in fresh.weights.items()}
    folder = tmp_path / "tuned"
    folder.mkdir()
    card = dataclasses.replace(CARDS["smollm2"], name="tuned", title="Tuned", default_read="whole")
    save_adapter(folder, Adapter(2, 4.0, weights), card, base=str(tiny_folder))
    return folder
