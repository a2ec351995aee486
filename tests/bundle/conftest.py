"""Folders as strangers publish them: XGen's form at a small size, and others; and a hub that has them."""

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

SHARED = Path(__file__).parents[3] / "shared" / "tokens"
ROWS = 51_200

# config.json of Salesforce/xgen-7b-8k-base but for its sizes
XGEN_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "hidden_act": "silu",
    "hidden_size": 16,
    "initializer_range": 0.02,
    "intermediate_size": 24,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.29.2",
    "use_cache": True,
    "vocab_size": ROWS,
}
LLAMA_IDS = {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def state_of(config: dict[str, Any], seed: int = 0) -> Any:
    """A random model of transformers, its weights large enough that every part of it matters."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    kind = config["architectures"][0].removesuffix("ForCausalLM")
    fields = {key: value for key, value in config.items() if key not in ("architectures", "torch_dtype")}
    model = getattr(transformers, f"{kind}ForCausalLM")(
        getattr(transformers, f"{kind}Config")(**fields)
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(mean=1.0 if p.ndim == 1 else 0.0, std=0.3)
    return model


def save_pickled(model: Any, folder: Path, shard_size: str) -> None:
    """Shards and index as the hub's library writes them for old versions of transformers."""
    from huggingface_hub import save_torch_state_dict

    state = dict(model.state_dict())
    config = model.config
    angles = 1e4 ** -(torch.arange(0, config.head_dim or 8, 2) / (config.head_dim or 8))
    for index in range(config.num_hidden_layers):
        state[f"model.layers.{index}.self_attn.rotary_emb.inv_freq"] = angles.clone()
    save_torch_state_dict(state, folder, safe_serialization=False, max_shard_size=shard_size)


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """A folder in the form in which XGen was published, and its model as transformers computes it."""

    def make(shard_size: str = "2MB", **changes: Any) -> tuple[Path, Any]:
        if not (SHARED / "gpt2.tiktoken").is_file():
            pytest.skip("GPT-2's ranks are not here")
        folder = tmp_path / "xgen-small"
        folder.mkdir()
        config = XGEN_CONFIG | changes
        model = state_of(config)
        save_pickled(model, folder, shard_size)
        tables = {
            "config.json": config,
            "generation_config.json": LLAMA_IDS,
            "tokenizer_config.json": {
                "tokenizer_class": "XgenTokenizer",
                "auto_map": {"AutoTokenizer": ["tokenization_xgen.XgenTokenizer", None]},
                "model_max_length": 1e30,
            },
        }
        for file, table in tables.items():
            (folder / file).write_text(json.dumps(table))
        (folder / "tokenization_xgen.py").write_text("raise SystemExit('code of strangers was run')\n")
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A small one\n")
        shutil.copy(SHARED / "gpt2.tiktoken", folder)
        return folder, model

    return make


@pytest.fixture
def stranger(tiny_folder: Path, tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """A pickled folder with the tiny model's tokenizer, of whatever configuration."""

    def make(name: str = "stranger", **changes: Any) -> tuple[Path, Any]:
        folder = tmp_path / name
        folder.mkdir()
        config = json.loads((tiny_folder / "config.json").read_text()) | {"torch_dtype": "float32"} | changes
        config.setdefault("head_dim", 16)
        model = state_of(config)
        save_pickled(model, folder, "40KB")
        for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(tiny_folder / file, folder)
        (folder / "config.json").write_text(json.dumps(config))
        return folder, model

    return make


# -- the hub --

COMMIT = "c" * 40


@dataclass
class Hub:
    """A repository, and how giving it fails. `breaks`: after how many bytes a transfer is cut, once each."""

    files: dict[str, bytes]
    hub_id: str = "Salesforce/xgen-7b-8k-inst"
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main", "v1", COMMIT)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    wrong: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    takes_ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    gated: bool = False

    def add_folder(self, folder: Path) -> None:
        self.files |= {path.name: path.read_bytes() for path in folder.iterdir()}

    def listing(self) -> dict[str, Any]:
        return {
            "id": self.hub_id,
            "modelId": self.hub_id,
            "sha": self.commit,
            "private": False,
            "downloads": 0,
            "tags": [],
            "siblings": [sibling(name, data) for name, data in self.files.items()],
        }


def sibling(name: str, data: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"rfilename": name, "size": len(data)}
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if not name.endswith((".bin", ".safetensors")):
        return said | {"blobId": git}
    lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return said | {"blobId": "0" * 40, "lfs": lfs}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        hub.asked.append((self.path, self.headers.get("Range")))
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            self.say_listing(hub, path.removeprefix("/api/models/"))
            return
        prefix = f"/{hub.hub_id}/resolve/{hub.commit}/"
        name = path.removeprefix(prefix)
        if not path.startswith(prefix) or name not in hub.files or name in hub.status:
            self.answer(hub.status.get(name, 404), b"")
            return
        body, status, begin = hub.wrong.get(name, hub.files[name]), 200, 0
        if hub.takes_ranges and (wanted := self.headers.get("Range")):
            begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        cuts = hub.breaks.get(name)
        self.answer(status, body[begin:], cuts.pop(0) if cuts else None)

    def say_listing(self, hub: Hub, asked: str) -> None:
        name, _, revision = asked.partition("/revision/")
        if name != hub.hub_id or hub.gated:
            code = "GatedRepo" if hub.gated else "RepoNotFound"
            self.answer(401 if hub.gated else 404, b"{}", code=code)
        elif revision and revision not in hub.revisions:
            self.answer(404, b"{}", code="RevisionNotFound")
        else:
            self.answer(200, json.dumps(hub.listing()).encode())

    def answer(self, status: int, body: bytes, cut: int | None = None, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub at an address of this machine, to which the library is pointed; it holds no files yet."""
    hub = Hub({})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = hub  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
