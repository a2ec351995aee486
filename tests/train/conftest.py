"""A small corpus with something to learn, and a recipe of two lengths over it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xgen.data.document import Document
from xgen.data.shards import Corpus, open_corpus, write_corpus

WORDS = ["the", "reader", "reads", "a", "long", "document", "and", "quotes", "it", "well", "here", "there"]


def small_tokenizer() -> dict[str, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS) + ".\n"] * 9, trainer)
    table: dict[str, Any] = json.loads(tokenizer.to_str())
    return table


def make_corpus(folder: Path, n_documents: int = 120) -> Corpus:
    """Documents of 20 to 600 tokens in two sets, with held-out ones; each word is followed by few others."""
    from tokenizers import Tokenizer

    table = small_tokenizer()
    tokenizer = Tokenizer.from_str(json.dumps(table))
    random = np.random.default_rng(1)
    with write_corpus(folder, "small", table, {}) as writer:
        for index in range(n_documents):
            length, word, words = int(random.integers(5, 160)), 0, []
            for _ in range(length):
                word = (word + int(random.integers(1, 4))) % len(WORDS)
                words.append(WORDS[word] + ("." if random.random() < 0.1 else ""))
            text = " ".join(words) + "\n"
            name = ("prose.en", "code.py", "prose.en.held")[2 if index % 10 == 9 else index % 2]
            language = "py" if name == "code.py" else "en"
            document = Document(text, "made", f"made/{index}", "CC0-1.0", language)
            writer.add(name, document, tokenizer.encode(text).ids)
    return open_corpus(folder)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpora") / "small")


@pytest.fixture
def recipe_table() -> Callable[..., dict[str, Any]]:
    """The table of a small recipe; keyword arguments replace its fields."""

    def make(**fields: Any) -> dict[str, Any]:
        rate = {"peak": 0.01, "warmup_tokens": 512, "decay": "cosine", "final": 0.1}
        return {
            "name": "small",
            "corpus": "small",
            "seed": 3,
            "dtype": "fp32",
            "tokens_per_step": 256,
            "tokens_per_micro_step": 128,
            "checkpoint_steps": 7,
            "log_steps": 2,
            "held_out_tokens": 400,
            "model": {
                "n_layers": 2,
                "d_model": 32,
                "d_ff": 64,
                "n_heads": 4,
                "n_kv_heads": 2,
                "head_dim": 8,
                "max_seq_len": 128,
            },
            "stage": [
                {
                    "name": "short",
                    "length": 64,
                    "tokens": 3_000,
                    "mix": {"prose.*": 1.0},
                    "learning_rate": rate,
                },
                {
                    "name": "long",
                    "length": 128,
                    "tokens": 3_000,
                    "mix": {"prose.*": 1.0, "code.*": 1.0},
                    "long_share": 0.3,
                    "learning_rate": rate,
                },
            ],
        } | fields

    return make


def begin_job(corpus: Corpus, recipe: Any, out: Path) -> Any:
    """A job of one process on the CPU, and its run before the first step."""
    import torch

    from xgen.data.plan import plan_run
    from xgen.train.loop import Job
    from xgen.train.parallel import World
    from xgen.train.start import begin, shape_of

    shape = shape_of(recipe, corpus.vocab_size)
    plans = plan_run(corpus, recipe.stages, recipe.seed, recipe.tokens_per_step)
    world = World(0, 1, torch.device("cpu"))
    return Job(recipe, shape, corpus, plans, out, world, 0.0), begin(recipe, shape, world)


def small_table(name: str, tokens: int, n_layers: int, d_model: int) -> dict[str, Any]:
    """The recipe of a small model from nothing, for others to begin from or to learn from."""
    model = {
        "n_layers": n_layers,
        "d_model": d_model,
        "d_ff": 64,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 8,
    }
    rate = {"peak": 0.01, "warmup_tokens": 256}
    stage = {"name": "one", "length": 64, "tokens": tokens, "mix": {"prose.*": 1.0}, "learning_rate": rate}
    table = {"name": name, "corpus": "small", "tokens_per_step": 256, "dtype": "fp32"}
    return table | {"model": model | {"max_seq_len": 128}, "stage": [stage]}


def metrics_of(out: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without what a clock has a part in."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = {"seconds", "tokens_per_s", "mfu"}
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]
