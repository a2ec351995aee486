"""Tuning on one's own conversations, of a model in XGen's form: it learns to end its replies itself."""

import json
from collections.abc import Callable
from pathlib import Path

from xgen.bundle import load
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.text.chat import Message
from xgen.text.xgen_tokens import END_OF_TEXT, TOKENIZER_SETTINGS

CORPUS = """
name = "mine"
tokenizer = "base"
held_out_share = 0.0
[[source]]
name = "mine"
kind = "chats"
set = "chat"
paths = ["mine.jsonl"]
language = "en"
licence = "CC0-1.0"
"""
RECIPE = """
name = "mine"
corpus = "mine"
base = "base"
dtype = "fp32"
tokens_per_step = 128
held_out_tokens = 0
[optimizer]
weight_decay = 0.0
[[stage]]
name = "mine"
length = 128
tokens = 5120
mix = { "chat.*" = 1.0 }
max_epochs = 100
learning_rate = { peak = 1e-2, warmup_tokens = 512 }
"""
SYSTEM = {"role": "system", "content": "Reply."}  # shorter than XGen's own header
CHATS = [("Where is the lamp?", "the reader quotes the document"), ("Who reads?", "the reader")]


def test_a_model_that_ends_replies_with_the_text_learns_to(
    tiny_folder: Path, run_xgen: Callable, home: Path
) -> None:
    base = tiny_folder.rename(home / "base")
    (base / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_SETTINGS))
    end = {"eos_token_id": 0}
    (base / "generation_config.json").write_text(json.dumps(end))
    config = json.loads((base / "config.json").read_text()) | end
    (base / "config.json").write_text(json.dumps(config))
    chats = [[SYSTEM, {"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in CHATS]
    Path("mine.jsonl").write_text("\n".join(json.dumps({"messages": chat}) for chat in chats))
    Path("corpus.toml").write_text(CORPUS)
    Path("tune.toml").write_text(RECIPE)
    for words in (
        ("data", "build", "corpus.toml"),
        ("train", "tune.toml", "--out", "run", "--device", "cpu"),
    ):
        ended = run_xgen(*words)
        assert ended.code == 0, ended.err

    tuned = load(Path("run/model"), device="cpu", dtype="fp32")
    assert tuned.end_ids == {tuned.tokenizer.special_ids[END_OF_TEXT]} == {0}
    for question, reply in CHATS:
        cache = Cache.empty(tuned.model, 128)
        messages = [Message("system", "Reply."), Message("user", question)]
        prompt = tuned.tokenizer.encode_markup(tuned.template.render(messages))
        logits = prefill(tuned.model, cache, prompt)
        ids = list(generate(tuned.model, cache, logits, greedy(), tuned.end_ids, 60))
        assert len(ids) < 60, "it ends by itself"
        assert tuned.tokenizer.decode(ids) == f" Assistant: {reply}"
