"""Do exported files give llama.cpp our ids and our text? `python bench/exported.py --peer PYTHON MODEL...`

Each model is written as a GGUF file by `xgen export`, in fp32 and in q8_0. llama.cpp, in the environment of
PYTHON (it needs llama-cpp-python and numpy), turns texts into ids, and writes greedy replies to prompts from
ids that it made itself of the prompt's text. Ours does the same from the model as it is loaded, in fp32.
Texts: those of tests/golden, the pages of docs/, random ones of all planes of Unicode. Prompts: a passage of
docs/ and a question about it. `--xgen RANKS VECTORS` (a gpt2.tiktoken, a JSON list of {"text", "ids"}) asks
llama.cpp for XGen's ids too, of a small model with XGen's tokenizer; `--shapes` for the logits of random
weights in every form that is exported. The last line is JSON.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
N_RANDOM, N_PROMPTS, NEW_TOKENS, N_COMPARED = 300, 50, 32, 40
QUESTIONS = (
    "What is this passage about?",
    "Which number stands in it?",
    "Who or what is named first?",
    "Say it in five words.",
    "What would you ask its author?",
)


def peer(path: str) -> None:
    """In the peer's Python: answer the JSON on standard input about the GGUF file `path`."""
    import llama_cpp  # type: ignore[import-not-found]
    import numpy as np

    asked = json.load(sys.stdin)
    exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32, "flash_attn": False}
    model = llama_cpp.Llama(path, n_ctx=1024, n_threads=2, logits_all=True, verbose=False, **exact)
    found: dict[str, Any] = {"version": llama_cpp.__version__, "replies": []}
    found["ids"] = [
        model.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=asked["special"])
        for text in asked["texts"]
    ]
    for prompt in asked["prompts"]:
        ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
        model.reset()
        model.eval(ids)
        reply: list[int] = []
        margins: list[float] = []
        while len(reply) < asked["new_tokens"]:
            logits = model.scores[model.n_tokens - 1]
            second, best = np.partition(logits, -2)[-2:]
            token = int(logits.argmax())
            if llama_cpp.llama_vocab_is_eog(model._model.vocab, token):
                break
            reply.append(token)
            margins.append(float(best - second))
            model.eval([token])
        found["replies"].append({"prompt_ids": ids, "ids": reply, "margins": margins})
    if asked.get("ids"):
        model.reset()
        model.eval(asked["ids"])
        found["logits"] = model.scores[model.n_tokens - N_COMPARED : model.n_tokens].tolist()
    json.dump(found, sys.stdout)


def texts() -> list[str]:
    """What both turn into ids."""
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    from texts import TEXTS  # type: ignore[import-not-found]

    draw = random.Random(5)
    planes = ((0x20, 0x7F), (0xA0, 0x500), (0x500, 0xD800), (0x4E00, 0x9FFF), (0x1F300, 0x1FA00), (9, 0x21))
    odd = [
        "".join(chr(draw.randrange(*draw.choice(planes))) for _ in range(draw.randrange(1, 60)))
        for _ in range(N_RANDOM)
    ]
    return [*TEXTS, *passages(), *odd]


def passages() -> list[str]:
    """The paragraphs of our own pages that are long enough to ask about."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    found = [part for page in pages for part in page.read_text(encoding="utf-8").split("\n\n")]
    return [part for part in found if 200 < len(part) < 1200]


def compared(name: str, python: str) -> dict[str, Any]:
    """How many ids and replies of one model agree."""
    from xgen.bundle import load
    from xgen.bundle.exporting import export_gguf
    from xgen.engine.cache import Cache
    from xgen.engine.generate import generate, prefill
    from xgen.engine.sample import greedy
    from xgen.text.chat import Message

    bundle = load(name, device="cpu", dtype="fp32")
    draw = random.Random(7)
    chosen = draw.sample(passages(), N_PROMPTS)
    pieces = [
        bundle.template.render([Message("user", f"Document:\n{text}\n\nQuestion: {QUESTIONS[i % 5]}")])
        for i, text in enumerate(chosen)
    ]
    asked = {
        "texts": texts(),
        "prompts": ["".join(piece.text for piece in one) for one in pieces],
        "new_tokens": NEW_TOKENS,
        "special": False,
    }
    theirs = {}
    with tempfile.TemporaryDirectory() as draft:
        for kind in ("fp32", "q8_0"):
            export_gguf(name, Path(draft) / f"{kind}.gguf", kind)
            theirs[kind] = _asked(python, Path(draft) / f"{kind}.gguf", asked)
    mine = []
    for one in pieces:
        ids = bundle.tokenizer.encode_markup(one)
        cache = Cache.empty(bundle.model, len(ids) + NEW_TOKENS + 1)
        logits = prefill(bundle.model, cache, ids)
        choose = greedy()
        mine.append((ids, list(generate(bundle.model, cache, logits, choose, bundle.end_ids, NEW_TOKENS))))
    exact = theirs["fp32"]
    different = [
        t for t, ids in zip(asked["texts"], exact["ids"], strict=True) if bundle.tokenizer.encode(t) != ids
    ]
    apart = [
        min(reply["margins"][_first_difference(reply["ids"], written) :][:1] or [0.0])
        for (_, written), reply in zip(mine, exact["replies"], strict=True)
        if reply["ids"] != written
    ]
    same_q8 = sum(
        a["ids"] == b["ids"] for a, b in zip(exact["replies"], theirs["q8_0"]["replies"], strict=True)
    )
    return {
        "model": name,
        "llama_cpp_python": exact["version"],
        "texts": len(asked["texts"]),
        "texts_with_equal_ids": len(asked["texts"]) - len(different),
        "first_different": different[:3],
        "prompts": N_PROMPTS,
        "prompts_with_equal_ids": sum(
            ids == reply["prompt_ids"] for (ids, _), reply in zip(mine, exact["replies"], strict=True)
        ),
        "replies_equal_fp32": N_PROMPTS - len(apart),
        "margins_where_they_part": [round(margin, 4) for margin in apart],
        "reply_ids": sum(len(written) for _, written in mine),
        "replies_equal_of_llama_cpp_q8_0_and_fp32": same_q8,
    }


def _asked(python: str, file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    words = [python, __file__, "--as-peer", str(file)]
    ended = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def xgen_ids(python: str, ranks: Path, vectors: Path) -> dict[str, Any]:
    """How many of XGen's published vectors llama.cpp turns into the same ids, special tokens honoured."""
    import torch

    from xgen.bundle.exporting import export_gguf
    from xgen.formats.folder import parameter_shapes, save_weights, write_config, write_json
    from xgen.model.shape import Shape
    from xgen.text.xgen_tokens import TOKENIZER_SETTINGS, read_ranks, xgen_tokenizer_json

    cases = json.loads(vectors.read_text(encoding="utf-8"))
    shape = Shape(1, 64, 96, 4, 4, 16, 51_200, 8192)
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(draft) / "xgen"
        folder.mkdir()
        weights = {name: torch.zeros(size) for name, size in parameter_shapes(shape).items()}
        save_weights(folder, shape, weights)
        write_config(folder, shape, eos_token_id=50_256)
        write_json(folder / "tokenizer.json", xgen_tokenizer_json(read_ranks(ranks)))
        write_json(folder / "tokenizer_config.json", TOKENIZER_SETTINGS)
        export_gguf(folder, Path(draft) / "xgen.gguf")
        asked = {"texts": [c["text"] for c in cases], "prompts": [], "new_tokens": 0, "special": True}
        found = _asked(python, Path(draft) / "xgen.gguf", asked)
    equal = sum(ids == case["ids"] for ids, case in zip(found["ids"], cases, strict=True))
    return {"model": "XGen's tokenizer", "vectors": len(cases), "vectors_with_equal_ids": equal}


def random_shapes(python: str) -> dict[str, Any]:
    """The largest difference of logits far into a text, by form, beside their standard deviation."""
    import torch

    from xgen.bundle import load, pull
    from xgen.bundle.exporting import export_gguf
    from xgen.formats.folder import parameter_shapes, save_weights, write_config
    from xgen.model.shape import RopeScaling, Shape

    plain = Shape(3, 128, 256, 4, 2, 32, 16_384, 2048, tied_head=True)
    forms = {
        "llama": plain,
        "llama, own head": replace(plain, tied_head=False),
        "llama, linear scaling": replace(plain, rope_scaling=RopeScaling(4.0)),
        "llama, Llama 3's scaling": replace(plain, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 256)),
        "qwen2": replace(plain, qkv_bias=True),
        "qwen2, linear scaling": replace(plain, qkv_bias=True, rope_scaling=RopeScaling(4.0)),
    }
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(3, plain.vocab_size, (1, 700), generator=draw)
    found: dict[str, Any] = {}
    for form, shape in forms.items():
        with tempfile.TemporaryDirectory() as draft:
            folder = Path(draft) / "random"
            folder.mkdir()
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(pull("nano", quiet=True) / name, folder / name)
            weights = {
                name: torch.randn(size, generator=draw) * 0.15 + name.endswith("norm.weight")
                for name, size in parameter_shapes(shape).items()
            }
            save_weights(folder, shape, weights, torch.float32)
            write_config(folder, shape, eos_token_id=2)
            export_gguf(folder, Path(draft) / "random.gguf", "fp32")
            asked = {"texts": [], "prompts": [], "new_tokens": 0, "special": False, "ids": ids[0].tolist()}
            theirs = torch.tensor(_asked(python, Path(draft) / "random.gguf", asked)["logits"])
            model = load(folder, device="cpu", dtype="fp32").model
            with torch.inference_mode():
                ours = model.logits(model(ids)[0, -N_COMPARED:])
        found[form] = {"difference": float((ours - theirs).abs().max()), "deviation": float(ours.std())}
    return {"model": "random weights", "forms": found}


def _first_difference(one: list[int], other: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--xgen", nargs=2, type=Path, metavar=("RANKS", "VECTORS"))
    parser.add_argument("--shapes", action="store_true")
    parser.add_argument("--as-peer", metavar="GGUF")
    options = parser.parse_args()
    if options.as_peer:
        peer(options.as_peer)
        return
    found = [compared(name, options.peer) for name in options.models]
    if options.xgen:
        found.append(xgen_ids(options.peer, *options.xgen))
    if options.shapes:
        found.append(random_shapes(options.peer))
    import torch
    from machine import commit, machine, now

    head = {"date": now(), "commit": commit(ROOT)}
    told = {**head, "machine": machine(torch.device("cpu")), "results": found}
    print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main()
