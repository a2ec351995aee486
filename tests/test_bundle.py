import dataclasses
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xgen.bundle import finding, load, loading, pull, pulling
from xgen.cards import ADAPTED, CARDS, Card, read_card, write_card
from xgen.errors import BadModel, NotPulled, XgenError
from xgen.files import shipped_adapter
from xgen.formats.adapter import ADAPTER_FILE, load_adapter, save_adapter
from xgen.formats.folder import load_weights, read_shape
from xgen.model.lora import Adapter, new_adapter
from xgen.text.chat import Message

FP32 = {"device": "cpu", "dtype": "fp32"}
N_TOKENS = 299  # of the 320 rows of the tiny model


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def fetched(home: Path, make_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where files were brought to; each is a tiny one."""
    places: list[Path] = []

    def fetch(card: Card, destination: Path, from_file: Path | None = None, quiet: bool = False) -> str:
        assert card.source is not None
        destination.write_bytes(make_gguf("qwen2").read_bytes())
        places.append(destination)
        return "index"

    monkeypatch.setattr(pulling, "fetch", fetch)
    return places


def test_pulling_twice_brings_once_and_keeps_no_gguf(fetched: list[Path], home: Path) -> None:
    folder = pull("qwen-0.5b", quiet=True)
    assert folder == home / "models" / "qwen-0.5b"
    assert pull("qwen-0.5b", quiet=True) == folder
    assert (len(fetched), list(home.rglob("*.gguf"))) == (1, [])
    loaded = load("qwen-0.5b", **FP32)
    assert (loaded.card, loaded.folder, loaded.shape.qkv_bias) == (CARDS["qwen-0.5b"], folder, True)


def test_pulling_at_once_does_no_harm(fetched: list[Path], home: Path) -> None:
    threads = [threading.Thread(target=pull, args=("qwen-0.5b",), kwargs={"quiet": True}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert load("qwen-0.5b", **FP32).shape.n_layers == 2


def test_what_a_killed_process_left_is_removed(fetched: list[Path], home: Path) -> None:
    left = home / "models" / ".qwen-0.5b.k1lled"
    left.mkdir(parents=True)
    (left / "model.safetensors").touch()
    pull("qwen-0.5b", quiet=True)
    assert not left.exists()


def test_a_failed_conversion_can_be_repeated(
    fetched: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:

        def refuse(*words: object) -> None:
            raise BadModel("x", "refused", "try again")

        broken.setattr(pulling, "convert", refuse)
        with pytest.raises(BadModel, match="refused"):
            pull("qwen-0.5b", quiet=True)
    assert not (home / "models" / "qwen-0.5b").exists()
    assert pull("qwen-0.5b", quiet=True).is_dir()


def test_a_known_model_that_is_not_there_names_the_command(home: Path) -> None:
    with pytest.raises(NotPulled, match="xgen pull smollm2"):
        load("smollm2")


def test_a_model_that_is_published_on_the_hub_is_to_be_pulled(home: Path) -> None:
    with pytest.raises(NotPulled, match="run `xgen pull xgen-7b-8k-inst`"):
        load("xgen-7b-8k-inst")


@pytest.mark.parametrize("name", ["qwen-0.6b", "", "no/such/folder", Path("no/such/folder")])
def test_an_unknown_model_is_one_sentence(home: Path, name: str | Path) -> None:
    with pytest.raises(BadModel):
        load(name)


@pytest.mark.parametrize(
    "options",
    [{"device": "mps"}, {"device": "gpu"}, {"device": "cuda:99"}, {"device": "cpu", "dtype": "int3"}],
)
def test_a_device_or_type_that_is_not_there_is_one_sentence(
    tiny_folder: Path, options: dict[str, str]
) -> None:
    with pytest.raises(XgenError, match="use "):
        load(tiny_folder, **options)


@pytest.mark.parametrize(("name", "dtype"), list(loading.DTYPES.items()))
def test_the_weights_are_the_files(tiny_folder: Path, name: str, dtype: torch.dtype) -> None:
    loaded = load(str(tiny_folder), device="cpu", dtype=name)
    assert loaded.dtype == dtype
    stored = load_weights(tiny_folder, read_shape(tiny_folder / "config.json"))
    for key, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, stored.pop(key).to(dtype))
        assert not parameter.requires_grad
    assert not stored


def test_ends_end_and_the_nameless_stay_hidden(tiny_folder: Path) -> None:
    loaded = load(tiny_folder, **FP32)
    specials = loaded.tokenizer.special_ids
    assert loaded.end_ids == {specials["<|im_end|>"], specials["<|endoftext|>"]}
    assert loaded.hidden_ids == {specials["<|im_start|>"], specials["<tool_call>"], *range(N_TOKENS, 320)}
    assert loaded.card.licence == "unknown licence"


def test_a_loaded_model_takes_a_conversation(tiny_folder: Path) -> None:
    loaded = load(tiny_folder, **FP32)
    ids = loaded.tokenizer.encode_markup(loaded.template.render([Message("user", "the reader")]))
    logits = loaded.model.logits(loaded.model(torch.tensor([ids])))
    assert logits.shape == (1, len(ids), 320)
    assert logits.isfinite().all()


@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm2", "qwen-0.5b"])
def test_against_llamacpp_replies(name: str, pulled: Callable, golden: Callable) -> None:
    """Each token of its greedy replies is our first choice too, but where its own choice was a close one."""
    loaded = load(pulled(name), **FP32)
    for case in golden(f"llamacpp_{name}.json")["replies"]:
        ids = torch.tensor([case["prompt_ids"] + case["ids"][:-1]])
        with torch.inference_mode():
            hidden = loaded.model(ids)[0, len(case["prompt_ids"]) - 1 :]
            choices = loaded.model.logits(hidden).argmax(-1).tolist()
        clear = [margin > 0.02 for margin in case["margins"]]
        assert sum(clear) >= 0.9 * len(clear)
        for ours, theirs, is_clear in zip(choices, case["ids"], clear, strict=True):
            assert ours == theirs or not is_clear, case["question"]


@pytest.mark.parametrize("ends", [None, [], "2", [2, 320], [-1]])
def test_a_folder_that_does_not_say_what_ends_a_reply_is_refused(tiny_folder: Path, ends: object) -> None:
    for name in ("generation_config.json", "config.json"):
        table = json.loads((tiny_folder / name).read_text())
        (tiny_folder / name).write_text(json.dumps(table | {"eos_token_id": ends}))
    with pytest.raises(BadModel, match="eos_token_id"):
        load(tiny_folder, **FP32)


def test_the_ends_of_the_configuration_will_do(tiny_folder: Path) -> None:
    (tiny_folder / "generation_config.json").unlink()
    table = json.loads((tiny_folder / "config.json").read_text())
    (tiny_folder / "config.json").write_text(json.dumps(table | {"eos_token_id": 2}))
    assert load(tiny_folder, **FP32).end_ids == {2}


def test_more_ids_than_rows_are_refused(tiny_folder: Path) -> None:
    table = json.loads((tiny_folder / "config.json").read_text())
    (tiny_folder / "config.json").write_text(json.dumps(table | {"vocab_size": 290}))
    with pytest.raises(BadModel, match=f"{N_TOKENS} ids for 290 rows"):
        load(tiny_folder, **FP32)


def test_a_bundle_is_not_changed_by_accident(tiny_folder: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(tiny_folder, **FP32).folder = Path()  # type: ignore[misc]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_an_adapter_is_added_in_fp32_and_cast_once(tiny_folder: Path, adapter: Path, dtype: str) -> None:
    changed = load(tiny_folder, device="cpu", dtype=dtype, adapter=str(adapter))
    low = load_adapter(adapter, changed.shape)
    for name, stored in load_weights(tiny_folder, changed.shape).items():
        expected = stored.float()
        if name in low.weights:
            a, b = (t.double() for t in low.weights[name])
            expected = (expected.double() + 2.0 * b @ a).float()
        found = changed.model.get_parameter(name)
        assert not found.requires_grad
        rtol = 1e-6 if dtype == "fp32" else 2**-8  # a sum at the edge of two roundings may go either way
        torch.testing.assert_close(found, expected.to(changed.dtype), rtol=rtol, atol=1e-6)
    assert len(low.weights) == 7 * changed.shape.n_layers


def test_what_is_kept_depends_on_the_adapter(tiny_folder: Path, adapter: Path) -> None:
    plain, changed = load(tiny_folder, **FP32).identity, load(tiny_folder, **FP32, adapter=adapter).identity
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 8.0}))
    stronger = load(tiny_folder, **FP32, adapter=adapter).identity
    assert len({plain, changed, stronger}) == 3
    assert load(tiny_folder, **FP32, adapter=adapter).identity == stronger


def test_the_card_is_the_adapters_and_no_wider_than_the_models(tiny_folder: Path, adapter: Path) -> None:
    card = load(tiny_folder, **FP32, adapter=adapter).card
    assert (card.name, card.default_read) == ("tuned", "whole")
    assert card.licence == "Apache-2.0; tiny: unknown licence"
    assert not card.commercial_use
    write_card(CARDS["xgen-7b-8k-inst"], tiny_folder)
    card = load(tiny_folder, **FP32, adapter=adapter).card
    assert (card.licence, card.commercial_use) == ("Apache-2.0; xgen-7b-8k-inst: research only", False)
    write_card(CARDS["smollm2"], tiny_folder)
    card = load(tiny_folder, **FP32, adapter=adapter).card
    assert (card.licence, card.commercial_use) == ("Apache-2.0", True)
    (adapter / "card.json").unlink()
    card = load(tiny_folder, **FP32, adapter=adapter).card
    assert (card.name, card.title) == ("tuned", "SmolLM2-135M-Instruct with the adapter tuned")
    assert (card.licence, card.commercial_use) == ("unknown licence; smollm2: Apache-2.0", False)
    assert card.languages == ("en",)


def test_what_is_not_for_commerce_is_said_once_on_stderr(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_card(dataclasses.replace(CARDS["xgen-7b-8k-inst"], name="said once"), tiny_folder)
    for _ in range(2):
        load(tiny_folder, **FP32)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("said once does not allow commercial use: research only (model card") == 1
    write_card(CARDS["xgen-7b-8k-base"], tiny_folder)
    load(tiny_folder, **FP32)
    assert "commercial" not in capsys.readouterr().err


def test_an_adapter_is_no_model_and_must_be_there(tiny_folder: Path, adapter: Path) -> None:
    with pytest.raises(BadModel, match="by --adapter"):
        load(adapter, **FP32)
    with pytest.raises(BadModel, match="it has no adapter_config"):
        load(tiny_folder, **FP32, adapter=tiny_folder)
    with pytest.raises(BadModel, match="nowhere"):
        load(tiny_folder, **FP32, adapter="nowhere")


def test_a_name_may_be_an_adapter_in_the_package(
    fetched: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "shipped_adapter", lambda name: None)
    with pytest.raises(BadModel, match="its adapter is missing"):
        load("reader", **FP32)
    with pytest.raises(BadModel, match=r"an adapter of its own; name its model, qwen-0\.5b"):
        load("reader", **FP32, adapter=home)
    monkeypatch.setattr(finding, "shipped_adapter", lambda name: own)
    own = home / "own"
    with pytest.raises(NotPulled, match="xgen pull qwen"):
        load("reader", **FP32)
    folder = pull("reader", quiet=True)
    assert folder == home / "models" / "qwen-0.5b"
    fresh = new_adapter(load("qwen-0.5b", **FP32).model, 2, 4.0, seed=0)
    weights = {name: (a, torch.full_like(b, 0.03)) for name, (a, b) in fresh.weights.items()}
    own.mkdir()
    save_adapter(own, Adapter(2, 4.0, weights), CARDS["reader"], base="qwen-0.5b")
    found, plain = load("reader", **FP32), load("qwen-0.5b", **FP32)
    expected = load("qwen-0.5b", **FP32, adapter=own)
    assert (found.folder, found.adapter, found.card) == (folder, own, expected.card)
    assert found.identity == expected.identity != plain.identity
    name = "layers.0.q.weight"
    assert torch.equal(found.model.get_parameter(name), expected.model.get_parameter(name))
    assert not torch.equal(found.model.get_parameter(name), plain.model.get_parameter(name))


N_BYTES = {"reader": 10e6, "reader-1.5b": 20e6}
N_PARAMETERS = {"reader": 4_399_104, "reader-1.5b": 9_232_384}


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_in_the_package_are_small_and_what_their_cards_say(name: str) -> None:
    folder = shipped_adapter(name)
    assert folder is not None
    assert read_card(folder) == CARDS[name]
    assert CARDS[name].source == CARDS[ADAPTED[name]].source
    assert json.loads((folder / ADAPTER_FILE).read_text())["base_model_name_or_path"] == ADAPTED[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) < N_BYTES[name]


@pytest.mark.model
@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_in_the_package_fit_their_models(name: str, pulled: Callable) -> None:
    folder = shipped_adapter(name)
    assert folder is not None
    low = load_adapter(folder, read_shape(pulled(ADAPTED[name]) / "config.json"), ADAPTED[name])
    assert low.n_parameters == N_PARAMETERS[name]
    assert all(b.abs().max() > 0 for _, b in low.weights.values())


@pytest.mark.parametrize(("capability", "n_words"), [((7, 5), 1), ((9, 0), 0)])
def test_bf16_on_a_card_without_it_is_said_once(
    capability: tuple[int, int],
    n_words: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {
        "device_count": lambda: 1,
        "get_device_capability": lambda device: capability,
        "get_device_name": lambda device: f"Tesla T4 {capability}",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for _ in range(2):
        place, choice, _ = loading.place_and_types("cuda", "bf16", "int8")
        assert (place.type, choice.dtype, choice.int8_only) == ("cuda", torch.bfloat16, False)
    assert capsys.readouterr().err.count("has no bf16 of its own: --dtype fp16 is faster") == n_words
    _, of_int8, kept = loading.place_and_types("cuda", "int8", "auto")
    expected = torch.float16 if n_words else torch.bfloat16
    assert (of_int8.dtype, of_int8.int8_only, kept) == (expected, True, expected)


@pytest.mark.parametrize(("set_before", "then"), [(None, "64"), ("7", "7")])
def test_what_torch_keeps_of_products_is_bounded_unless_the_user_has(
    set_before: str | None, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    for name in names:
        monkeypatch.setenv(name, set_before or "")
        if set_before is None:
            monkeypatch.delenv(name)
    loading.place_and_types("cpu", "fp32", "auto")
    assert [os.environ[name] for name in names] == [then, then]
