"""Models going out: the folder in transformers, the GGUF file back through our own reader and theirs."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xgen.bundle.exporting import export_folder, export_gguf
from xgen.bundle.loading import load
from xgen.cards import CARDS, read_card, write_card
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.errors import BadModel, XgenError
from xgen.formats.adapter import save_adapter
from xgen.formats.folder import load_weights, read_shape, save_weights, write_config
from xgen.formats.gguf import QWEN2_PATTERNS, ROTARY_FACTORS, convert, read_gguf_shape
from xgen.formats.gguf_file import read_gguf
from xgen.formats.gguf_out import KINDS, pre_tokenizer_name
from xgen.model.lora import Adapter, new_adapter
from xgen.model.shape import RopeScaling
from xgen.model.transformer import frequencies
from xgen.read.prompt import DOCUMENT, FREE, QUESTION, SYSTEM
from xgen.text.tokenizer import Tokenizer
from xgen.text.xgen_tokens import HEADER

ON_CPU: Any = {"device": "cpu", "dtype": "fp32"}
TEXTS = ["the reader reads the document", "naïve 日本\n\n  quotes 1234, isn't it", "<|im_end|> <tool_call>x"]
RENAMED = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(params=["llama", "qwen2"])
def model(request: pytest.FixtureRequest, make_gguf: Callable, tmp_path: Path) -> Path:
    """A tiny folder of either architecture; the one of llama has a head of its own."""
    folder = tmp_path / "models" / request.param
    convert(make_gguf(request.param, head="other" if request.param == "llama" else None), folder)
    write_card(dataclasses.replace(CARDS["nano"], name="tiny", title="A tiny model"), folder)
    return folder


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    fresh = new_adapter(load(model, **ON_CPU).model, 2, 4.0, seed=0)
    weights = {name: (a, torch.full_like(b, 0.03)) for name, (a, b) in fresh.weights.items()}
    folder = tmp_path / "tuned"
    folder.mkdir()
    save_adapter(folder, Adapter(2, 4.0, weights), CARDS["reader"], base=str(model), dtype=torch.float32)
    return folder


def greedy_ids(folder: Path, prompt: list[int], n: int = 12) -> list[int]:
    ours = load(folder, **ON_CPU)
    cache = Cache.empty(ours.model, 64)
    logits = prefill(ours.model, cache, prompt)
    return list(generate(ours.model, cache, logits, greedy(), frozenset(), n))


def test_against_transformers_the_folder_is_the_model(model: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    target = tmp_path / "out"
    export_folder(model, target, "fp32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(target, dtype="auto").eval()
    assert theirs.dtype == torch.float32
    ours = load(model, **ON_CPU)
    ids = torch.arange(4, 60)[None]
    with torch.inference_mode():
        expected = ours.model.logits(ours.model(ids))
        torch.testing.assert_close(theirs(ids).logits, expected, rtol=1e-4, atol=1e-4)
        written = theirs.generate(ids[:, :9], max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert written[0, 9:].tolist() == greedy_ids(model, list(range(4, 13)))
    assert theirs.generation_config.eos_token_id == [2, 0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    for text in TEXTS[:2]:
        assert tokenizer.encode(text) == ours.tokenizer.encode(text)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).startswith(
        "<|im_start|>user\nx<|im_end|>"
    )


@RENAMED
def test_against_peft_an_adapter_is_merged(model: Path, adapter: Path, tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    export_folder(model, tmp_path / "out", "fp32", adapter)
    plain = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with_adapter = peft.PeftModel.from_pretrained(plain, adapter).eval()
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.arange(4, 60)[None]
    with torch.inference_mode():
        expected, found = with_adapter(ids).logits, merged(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    own = load(model, **ON_CPU, adapter=adapter)
    assert "base_model: Qwen/" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "LICENSE-Apache-2.0").read_text().lstrip().startswith("Apache License")
    assert read_card(tmp_path / "out").licence == own.card.licence == "CC-BY-SA-4.0; tiny: Apache-2.0"


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_weights_are_cast_once(model: Path, adapter: Path, dtype: str, tmp_path: Path) -> None:
    export_folder(model, tmp_path / "out", dtype, adapter)
    changed = load(model, device="cpu", dtype=dtype, adapter=adapter).model
    for name, tensor in load_weights(tmp_path / "out", read_shape(tmp_path / "out" / "config.json")).items():
        assert torch.equal(tensor, changed.get_parameter(name)), name
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"].endswith("float16")


@pytest.mark.parametrize(
    ("known", "front", "licence_file"),
    [
        ("nano", "license: apache-2.0", True),
        ("reader", "license: cc-by-sa-4.0", False),
        ("xgen-7b-8k-base", "license: apache-2.0", True),
        ("xgen-7b-8k-inst", 'license: other\nlicense_name: "research only"', False),
        (None, "license: unknown", False),
    ],
)
def test_the_licence_goes_along(
    tiny_folder: Path, tmp_path: Path, *, known: str | None, front: str, licence_file: bool
) -> None:
    if known:
        write_card(CARDS[known], tiny_folder)
    card = export_folder(tiny_folder, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"---\n{front}\n")
    assert card.licence_source in text
    assert card.warning in text
    assert read_card(tmp_path / "out") == card
    assert (card.commercial_use, card.n_parameters > 0) == (bool(known and CARDS[known].commercial_use), True)
    assert (tmp_path / "out" / "LICENSE").exists() is licence_file
    (tmp_path / "out" / "card.json").unlink()  # others go by the front matter alone
    assert read_card(tmp_path / "out").commercial_use == card.commercial_use
    export_gguf(tiny_folder, tmp_path / "out.gguf")
    stated = GGUFReader(tmp_path / "out.gguf").fields["general.license"].contents()
    assert stated == (front.removeprefix("license: ") if "\n" not in front else "research only").replace(
        "unknown", card.licence
    )


@pytest.mark.parametrize("kind", KINDS)
def test_law_a_file_comes_back_as_the_folder_it_was(model: Path, kind: str, tmp_path: Path) -> None:
    export_gguf(model, tmp_path / "out.gguf", kind)
    convert(tmp_path / "out.gguf", tmp_path / "back")
    shape = read_shape(model / "config.json")
    assert read_shape(tmp_path / "back" / "config.json") == shape
    back, before = load_weights(tmp_path / "back", shape), load_weights(model, shape)
    for name, tensor in before.items():
        if kind == "q8_0" and tensor.ndim == 2:
            assert (back[name].float() - tensor.float()).abs().max() <= tensor.float().abs().max() / 120
        else:  # all weights of the folder are bf16, and of a size that fp16 holds exactly or rounds back
            torch.testing.assert_close(back[name], tensor, rtol=2**-8 if kind == "fp16" else 0, atol=0)
    one, other = (load(folder, **ON_CPU) for folder in (model, tmp_path / "back"))
    assert (one.end_ids, one.hidden_ids) == (other.end_ids, other.hidden_ids)
    assert one.tokenizer.special_ids == other.tokenizer.special_ids
    assert one.template.source == other.template.source
    for text in TEXTS:
        assert one.tokenizer.encode(text) == other.tokenizer.encode(text)


def test_against_transformers_reading_the_gguf_file(model: Path, adapter: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    export_gguf(model, tmp_path / "out.gguf", "fp32", adapter)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="out.gguf", dtype=torch.float32
    ).eval()
    ours = load(model, **ON_CPU, adapter=adapter)
    ids = torch.arange(4, 60)[None]
    with torch.inference_mode():
        expected = ours.model.logits(ours.model(ids))
        torch.testing.assert_close(theirs(ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_linear_scaling_of_positions_comes_back(tiny_folder: Path, tmp_path: Path) -> None:
    shape = dataclasses.replace(read_shape(tiny_folder / "config.json"), rope_scaling=RopeScaling(4.0))
    write_config(tiny_folder, shape, eos_token_id=2)
    export_gguf(tiny_folder, tmp_path / "out.gguf")
    assert read_gguf_shape(read_gguf(tmp_path / "out.gguf")) == shape


def test_against_transformers_llama_3s_scaling_is_a_tensor_of_factors(
    tiny_folder: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    scaling = RopeScaling(8.0, 1.0, 4.0, 64)
    shape = dataclasses.replace(read_shape(tiny_folder / "config.json"), rope_scaling=scaling)
    write_config(tiny_folder, shape, eos_token_id=2)
    export_gguf(tiny_folder, tmp_path / "out.gguf")
    (found,) = (t.data for t in GGUFReader(tmp_path / "out.gguf").tensors if t.name == ROTARY_FACTORS)
    config = transformers.AutoConfig.from_pretrained(tiny_folder)
    init = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"]
    plain = shape.rope_theta ** -(torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    expected = plain / init(config, torch.device("cpu"))[0]
    assert expected.max() > 7.9
    torch.testing.assert_close(torch.tensor(found), expected)


@given(
    factor=st.floats(1, 64, width=32),
    low=st.floats(0.25, 3, width=32),
    span=st.floats(0.25, 8, width=32),
    window=st.integers(16, 1 << 17),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_law_llama_3s_scaling_comes_back(
    tiny_folder: Path, tmp_path: Path, factor: float, low: float, span: float, window: int
) -> None:
    shape = dataclasses.replace(
        read_shape(tiny_folder / "config.json"), rope_scaling=RopeScaling(factor, low, low + span, window)
    )
    write_config(tiny_folder, shape, eos_token_id=2)
    (tmp_path / "out.gguf").unlink(missing_ok=True)
    export_gguf(tiny_folder, tmp_path / "out.gguf")
    assert read_gguf_shape(read_gguf(tmp_path / "out.gguf")) == shape


def test_a_model_with_llama_3s_scaling_comes_back_with_its_logits(tiny_folder: Path, tmp_path: Path) -> None:
    shape = read_shape(tiny_folder / "config.json")
    scaled = dataclasses.replace(shape, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64))
    write_config(tiny_folder, scaled, eos_token_id=2)
    export_gguf(tiny_folder, tmp_path / "out.gguf")
    convert(tmp_path / "out.gguf", tmp_path / "back")
    before, after = (load(folder, **ON_CPU).model for folder in (tiny_folder, tmp_path / "back"))
    ids = torch.arange(4, 100)[None]
    with torch.inference_mode():
        assert torch.equal(before.logits(before(ids)), after.logits(after(ids)))


def test_llama_3s_own_numbers_are_known_where_a_file_has_the_factors_alone(make_gguf: Callable) -> None:
    """As llama.cpp's converter writes them; the numbers are those of Llama 3.2."""
    shape = read_gguf_shape(read_gguf(make_gguf("llama")))
    scaled = dataclasses.replace(shape, rope_scaling=RopeScaling(32.0, 1.0, 4.0, 8192))
    factors = (frequencies(shape) / frequencies(scaled)).numpy()
    assert read_gguf_shape(read_gguf(make_gguf("llama", tensors={ROTARY_FACTORS: factors}))) == scaled


def test_llama_3s_scaling_has_no_place_in_qwen2(make_gguf: Callable, tmp_path: Path) -> None:
    convert(make_gguf("qwen2"), tmp_path / "qwen")
    shape = read_shape(tmp_path / "qwen" / "config.json")
    scaled = dataclasses.replace(shape, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64))
    write_config(tmp_path / "qwen", scaled, eos_token_id=2)
    with pytest.raises(BadModel, match="Llama 3's rotary scaling"):
        export_gguf(tmp_path / "qwen", tmp_path / "qwen.gguf")


def test_against_transformers_a_name_of_code_that_is_not_there_is_left_out_aloud(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    path = tiny_folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    code = {"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}}
    path.write_text(json.dumps(settings | code | {"tokenizer_class": "XTokenizer"}))
    export_folder(tiny_folder, tmp_path / "out")
    assert "auto_map names Python code" in capsys.readouterr().err.replace("\n", " ")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = Tokenizer.from_folder(tiny_folder)
    assert [theirs(text).input_ids for text in TEXTS[:2]] == [ours.encode(text) for text in TEXTS[:2]]
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert written == settings | {"tokenizer_class": "XTokenizer"}


def test_nothing_is_overwritten_and_nothing_stays_of_what_fails(tiny_folder: Path, tmp_path: Path) -> None:
    for there, export in ((tmp_path / "there", export_folder), (tmp_path / "file", export_gguf)):
        there.mkdir()
        with pytest.raises(XgenError, match="there already"):
            export(tiny_folder, there)
    shape = read_shape(tiny_folder / "config.json")
    weights = {name: tensor.clone() for name, tensor in load_weights(tiny_folder, shape).items()}
    weights["layers.1.up.weight"][3, 3] = 1e6
    save_weights(tiny_folder, shape, weights)
    before = sorted(tmp_path.iterdir())
    for target, export in ((tmp_path / "new", export_folder), (tmp_path / "new.gguf", export_gguf)):
        with pytest.raises(BadModel, match=r"layers\.1\.up\.weight: it holds numbers that fp16 cannot"):
            export(tiny_folder, target, "fp16")
    assert sorted(tmp_path.iterdir()) == before


def test_the_page_on_serving_says_what_our_models_are_told() -> None:
    page = (Path(__file__).parent.parent / "docs" / "serving.md").read_text(encoding="utf-8")
    (request,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    system, user = (turn["content"] for turn in json.loads(request)["messages"])
    assert system == SYSTEM
    assert user == f"{DOCUMENT}<the text>{QUESTION}<the question>\n{FREE.request}"
    assert f'SYSTEM """{SYSTEM}"""' in page
    assert f"{{{{ else }}}}{HEADER}{{{{ end }}}}" in page


def test_splittings_without_a_name_are_refused() -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    split = {
        "type": "Split",
        "pattern": {"Regex": QWEN2_PATTERNS[1]},
        "behavior": "Isolated",
        "invert": False,
    }

    def name(*steps: dict[str, Any], **more: Any) -> str:
        pre = {"type": "Sequence", "pretokenizers": list(steps)} if len(steps) > 1 else steps[0]
        return pre_tokenizer_name({"pre_tokenizer": pre, **more}, "tiny")

    assert name(byte_level | {"use_regex": True}) == "gpt-2"
    assert name(split, byte_level, normalizer={"type": "NFC"}) == "qwen2"
    for steps, more in (
        ((byte_level,), {}),
        ((split, byte_level | {"use_regex": True}), {}),
        ((split | {"pattern": {"Regex": "x"}}, byte_level), {}),
        ((split, split, byte_level), {}),
        ((split, byte_level), {"normalizer": {"type": "Lowercase"}}),
        (({"type": "Metaspace"},), {}),
    ):
        with pytest.raises(BadModel, match=r"no name for the way"):
            name(*steps, **more)
