"""Make llamacpp_<model>.json: what llama.cpp says of our texts and prompts.

    python tests/golden/make_llamacpp.py MODEL.gguf FOLDER OUT.json

MODEL.gguf is the file as it is published, FOLDER what `xgen pull` made of it. Needs llama-cpp-python,
gguf and numpy, none of xgen. Token ids come from MODEL.gguf, with special tokens not parsed. Replies are
greedy and computed in fp32 from FOLDER's own weights, which are written into a temporary GGUF file for
it: the published file computes with 8-bit activations, which takes other turns after a few words, and
for Qwen with another quantisation of the embedding. `margins` are the distances between the best and
the second logit: where one is small, another order of additions may rightly choose otherwise.
"""

import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from texts import QUESTIONS, SYSTEM, TEXTS

NEW_TOKENS = 32
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tensors_of(folder):
    """Yield (name, fp32 array) of a bf16 safetensors file."""
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            a, b = entry["data_offsets"]
            halves = np.frombuffer(data[start + a : start + b], np.uint16)
            yield name, (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def gguf_name(name):
    if not name.startswith("model.layers."):
        part = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}[name.rsplit(".", 1)[0]]
        return part + ".weight"
    _, _, index, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{index}.{LAYER[part]}.{kind}"


def write_fp32(published, folder, out):
    """The published file's values with the folder's tensors, fp32."""
    reader = gguf.GGUFReader(published)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out, architecture)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        kinds = field.types
        writer.add_key_value(key, field.contents(), kinds[0], kinds[1] if len(kinds) > 1 else None)
    heads = {
        part: reader.fields[f"{architecture}.attention.{key}"].contents()
        for part, key in (("attn_q", "head_count"), ("attn_k", "head_count_kv"))
    }
    for name, array in tensors_of(folder):
        part = gguf_name(name).split(".")[-2]
        if architecture == "llama" and part in heads:  # llama.cpp rotates neighbours
            halves = array.reshape(heads[part], 2, -1, array.shape[1])
            writer.add_tensor(gguf_name(name), halves.swapaxes(1, 2).reshape(array.shape))
        else:
            writer.add_tensor(gguf_name(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reply(model, ids):
    """Greedy reply ids, the end included, and the margin of each."""
    model.reset()
    model.eval(ids)
    found, margins = [], []
    while len(found) < NEW_TOKENS:
        logits = model.scores[model.n_tokens - 1]
        second, best = np.partition(logits, -2)[-2:]
        found.append(int(logits.argmax()))
        margins.append(round(float(best - second), 3))
        if llama_cpp.llama_vocab_is_eog(model._model.vocab, found[-1]):
            break
        model.eval(found[-1:])
    return found, margins


def main():
    published, folder, out = map(Path, sys.argv[1:])
    asked = llama_cpp.Llama(str(published), vocab_only=True, verbose=False)
    tokens = [
        {"text": text, "ids": asked.tokenize(text.encode(), add_bos=False, special=False)} for text in TEXTS
    ]
    replies = []
    with tempfile.TemporaryDirectory() as draft:
        write_fp32(published, folder, str(Path(draft) / "fp32.gguf"))
        model = llama_cpp.Llama(
            str(Path(draft) / "fp32.gguf"), n_ctx=512, n_threads=2, logits_all=True, verbose=False,
            flash_attn=False, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32,
        )  # fmt: skip
        for question in QUESTIONS:
            prompt = "".join(
                f"<|im_start|>{role}\n{text}<|im_end|>\n"
                for role, text in (("system", SYSTEM), ("user", question))
            )
            ids = model.tokenize((prompt + "<|im_start|>assistant\n").encode(), add_bos=False, special=True)
            found, margins = reply(model, ids)
            text = model.detokenize(found).decode("utf-8", "replace")
            replies.append(
                {"question": question, "prompt_ids": ids, "ids": found, "margins": margins, "text": text}
            )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    golden = {
        "made_by": f"python tests/golden/make_llamacpp.py {published.name} {folder.name} {out.name}",
        "llama_cpp_python": llama_cpp.__version__,
        "machine": f"{platform.machine()}, {platform.system()}, CPU, 2 threads",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "system": SYSTEM,
    }
    lines = (
        [json.dumps(entry, ensure_ascii=False) for entry in tokens],
        [json.dumps(r, ensure_ascii=False) for r in replies],
    )
    head = json.dumps(golden, ensure_ascii=False, indent=1)[:-2]
    body = (
        ',\n "tokens": [\n'
        + ",\n".join(lines[0])
        + '\n ],\n "replies": [\n'
        + ",\n".join(lines[1])
        + "\n ]\n}\n"
    )
    out.write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main()
