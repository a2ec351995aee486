"""What belongs to imported weights: tokenizer, template, ends, and the card."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xgen.bundle import load
from xgen.bundle.importing import import_model
from xgen.cards import CARDS, write_card
from xgen.errors import BadModel
from xgen.text.chat import Message

FP32 = {"device": "cpu", "dtype": "fp32"}


def change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    table = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))


def test_a_tokenizer_of_strangers_is_carried_without_their_code(stranger: Callable, tmp_path: Path) -> None:
    source, _ = stranger()
    change(source, "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}, padding_side="left")
    template = json.loads((source / "tokenizer_config.json").read_text())["chat_template"]
    (source / "chat_template.jinja").write_text(template + "{# its own #}")
    import_model(source, tmp_path / "mine", quiet=True)
    settings = json.loads((tmp_path / "mine" / "tokenizer_config.json").read_text())
    assert "auto_map" not in settings
    assert settings["padding_side"] == "left"
    assert settings["chat_template"] == template + "{# its own #}"
    before, after = (json.loads((f / "tokenizer.json").read_text()) for f in (source, tmp_path / "mine"))
    assert before == after


def test_a_model_without_template_or_ends_gets_what_is_known(
    stranger: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = stranger()
    (source / "generation_config.json").unlink()
    change(source, "config.json", eos_token_id=None)
    change(source, "tokenizer_config.json", chat_template=None, eos_token="<|im_end|>")
    import_model(source, tmp_path / "mine")
    bundle = load(tmp_path / "mine", **FP32)
    assert bundle.end_ids == {2}
    assert bundle.template.render([Message("user", "x")])[0].text == "<|im_start|>user\n"
    assert "it brings no chat template" in capsys.readouterr().err
    for nothing in (None, ["<|im_end|>"], {"content": ["<|im_end|>"]}):
        change(source, "tokenizer_config.json", eos_token=nothing)
        with pytest.raises(BadModel, match="no eos_token_id"):
            import_model(source, tmp_path / "other")


@pytest.fixture
def small_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XGen's cards, as if the published models were of the tests' size."""
    for name, one in CARDS.items():
        if name.startswith("xgen-7b"):
            monkeypatch.setitem(CARDS, name, dataclasses.replace(one, n_parameters=82_240))


def test_a_name_is_given_by_a_person_or_exactly_known(
    stranger: Callable, small_cards: None, tmp_path: Path
) -> None:
    source, _ = stranger("xgen-7b-8k-inst")
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    card = import_model(source, tmp_path / "mine", quiet=True)
    assert (card.name, card.commercial_use) == ("xgen-7b-8k-inst", False)
    assert card.licence.startswith("research only")
    card = import_model(source.rename(tmp_path / "inst"), tmp_path / "other", quiet=True)
    assert (card.name, card.licence, card.commercial_use) == ("inst", "Apache-2.0", True)
    snapshot = tmp_path / "hub" / "models--Salesforce--xgen-7b-8k-base" / "snapshots" / ("e" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tmp_path / "inst")  # as the hub's own library keeps files elsewhere
    card = import_model(snapshot, tmp_path / "fourth", quiet=True)
    assert (card.name, card.commercial_use) == ("xgen-7b-8k-base", True)
    assert json.loads((tmp_path / "fourth" / "origin.json").read_text())["revision"] == "e" * 40
    with pytest.raises(BadModel, match=r"82,240 parameters, smollm2 has"):
        import_model(tmp_path / "inst", tmp_path / "third", named="smollm2", quiet=True)


def test_what_a_folders_own_card_forbids_is_carried(
    stranger: Callable, small_cards: None, tmp_path: Path
) -> None:
    source, _ = stranger("xgen-7b-8k-base")
    research = dataclasses.replace(CARDS["xgen-7b-8k-inst"], warning="not for every use", languages=("en",))
    write_card(research, source)
    card = import_model(source, tmp_path / "known", quiet=True)
    assert (card.name, card.commercial_use) == ("xgen-7b-8k-base", False)
    assert "research only" in card.licence
    assert "not for every use" in card.warning
    own = import_model(source.rename(tmp_path / "own"), tmp_path / "again", quiet=True)
    assert (own.name, own.licence, own.commercial_use) == ("own", "research only", False)
    assert (own.warning, own.languages) == ("not for every use", ("en",))
    named = import_model(tmp_path / "own", tmp_path / "named", named="xgen-7b-8k-base", quiet=True)
    assert not named.commercial_use
    (tmp_path / "own" / "card.json").unlink()
    unknown = import_model(tmp_path / "own", tmp_path / "unknown", quiet=True)
    assert not unknown.commercial_use
    now = import_model(tmp_path / "unknown", tmp_path / "now", named="xgen-7b-8k-base", quiet=True)
    assert now.licence == "Apache-2.0", "that nothing was stated forbids nothing"


def test_the_narrower_window_of_a_known_model_is_kept(
    stranger: Callable, small_cards: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = stranger(max_position_embeddings=8192)
    card = import_model(source, tmp_path / "mine", named="xgen-7b-4k-base")
    assert card.window_tokens == load(tmp_path / "mine", **FP32).shape.max_seq_len == 4096
    assert "its window is 4,096 tokens, not 8,192" in capsys.readouterr().err
