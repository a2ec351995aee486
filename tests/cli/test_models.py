import json
from collections.abc import Callable

from xgen.cards import CARDS


def test_the_list_says_what_each_may_be_used_for(run_xgen: Callable, reader) -> None:
    header, *rows = run_xgen("models").out.splitlines()
    assert header.split("  ")[0] == "name"
    assert [row.split()[0] for row in rows] == list(CARDS)
    research = next(row for row in rows if row.startswith("xgen-7b-8k-inst"))
    assert "research only  no" in research
    assert "not to be pulled" in research


def test_json_lists_every_field_of_a_card(run_xgen: Callable, reader) -> None:
    found = {card["name"]: card for card in json.loads(run_xgen("models", "--json").out)}
    assert found.keys() == CARDS.keys()
    assert [name for name, card in found.items() if card["on_disk"]] == ["qwen-0.5b", "reader"]
    for name, card in CARDS.items():
        assert found[name]["window_tokens"] == card.window_tokens


def test_a_name_shows_the_licence_and_where_it_is_stated(run_xgen: Callable, reader) -> None:
    for name, card in CARDS.items():
        out = run_xgen("models", name).out
        assert card.licence in out
        assert card.licence_source in out
    assert json.loads(run_xgen("models", "smollm2", "--json").out)["on_disk"] is False


def test_an_unknown_name_is_met_with_the_nearest(run_xgen: Callable) -> None:
    ended = run_xgen("models", "smolm2")
    assert ended.code == 2
    assert "did you mean smollm2" in ended.err
