import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xgen.cards import CARDS, write_card
from xgen.model.shape import SHAPES
from xgen.train.start import card_of

CORPUS: Any = SimpleNamespace(sets={"book.en": SimpleNamespace(name="book.en", language="en")})


def tuned(base: Path | None, adapter: object = None, **told: str) -> Any:
    return SimpleNamespace(
        name="tuned", base=base and str(base), adapter=adapter, teacher=None, card=told, corpus="", longest=64
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_card(CARDS["xgen-7b-8k-inst"], tmp_path)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_tuned_model_inherits_its_bases_licence_whatever_its_recipe_says(base: Path) -> None:
    silent = card_of(tuned(base), SHAPES["tiny"], CORPUS)
    bold = card_of(tuned(base, licence="MIT", commercial_use="yes"), SHAPES["tiny"], CORPUS)
    assert (silent.licence, silent.commercial_use) == ("research only", False)
    assert (bold.licence, bold.commercial_use) == ("MIT; xgen-7b-8k-inst: research only", False)
    assert silent.warning == bold.warning == CARDS["xgen-7b-8k-inst"].warning


def test_an_adapter_states_its_own_and_allows_no_more_than_its_base(base: Path) -> None:
    made = card_of(tuned(base, adapter=SimpleNamespace(start=None), licence="MIT"), SHAPES["tiny"], CORPUS)
    assert (made.licence, made.commercial_use) == ("MIT", False)


def test_made_from_nothing_without_a_word_its_licence_is_unknown() -> None:
    made = card_of(tuned(None), SHAPES["tiny"], CORPUS)
    assert (made.licence, made.commercial_use, made.warning) == ("unknown licence", False, "")
    said = card_of(tuned(None, licence="MIT", commercial_use="yes"), SHAPES["tiny"], CORPUS)
    assert said == dataclasses.replace(made, licence="MIT", commercial_use=True)
