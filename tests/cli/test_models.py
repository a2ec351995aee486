import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from xgen.cards import CARDS, write_card
from xgen.cli.loading import require_model
from xgen.files import model_folder


def test_the_list_says_what_each_may_be_used_for(run_xgen: Callable, reader) -> None:
    header, *rows = run_xgen("models").out.splitlines()
    assert header.split("  ")[0] == "name"
    table = rows[: rows.index("")]
    assert [row.split()[0] for row in table] == list(CARDS)
    for name, row in zip(CARDS, table, strict=True):
        assert f"{CARDS[name].n_parameters:,}" in row
        assert f"{CARDS[name].window_tokens:,}" in row
    research = next(row for row in table if row.startswith("xgen-7b-8k-inst"))
    assert "research only  research only" in research
    for name, card in CARDS.items():
        assert f"  {name}: {card.licence_source}" in rows
    warnings = [row for row in rows if row.startswith("Warning, ")]
    assert [row.split(":")[0] for row in warnings] == [
        "Warning, xgen-7b-4k-base, xgen-7b-8k-base, xgen-7b-8k-inst"
    ]


def test_json_lists_every_field_of_a_card(run_xgen: Callable, reader) -> None:
    found = {card["name"]: card for card in json.loads(run_xgen("models", "--json").out)}
    assert found.keys() == CARDS.keys()
    assert [name for name, card in found.items() if card["on_disk"]] == ["qwen-0.5b", "reader"]
    for name, card in CARDS.items():
        assert found[name]["window_tokens"] == card.window_tokens
        assert found[name]["allows"] == ("commercial use" if card.commercial_use else "research only")


def test_a_name_shows_the_licence_and_where_it_is_stated(run_xgen: Callable, reader) -> None:
    for name, card in CARDS.items():
        out = run_xgen("models", name).out
        assert card.licence in out
        assert card.licence_source in out
        assert card.warning in out
    assert json.loads(run_xgen("models", "smollm2", "--json").out)["on_disk"] is False


def test_use_commercial_answers_with_reasons(run_xgen: Callable, home: Path) -> None:
    own = model_folder("own")
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    ended = run_xgen("models", "--use", "commercial")
    allowed, forbidden, unknown, *rest = ended.out.split("\n\n")
    sold = [name for name, card in CARDS.items() if card.commercial_use]
    assert [line.split()[0] for line in allowed.splitlines()[1:]] == sold
    (line,) = forbidden.splitlines()[1:]
    assert line.split()[0] == "xgen-7b-8k-inst"
    assert "research only" in line
    assert "wrongly" in line
    assert unknown.splitlines()[1].split()[:3] == ["own", "unknown", "licence"]
    answer = "the 4K and 8K bases are Apache-2.0 and may be used commercially; the instruct model is for"
    assert answer in rest[0]
    assert "January 2025" in rest[0]


def test_use_as_json_lists_the_same(run_xgen: Callable, home: Path) -> None:
    write_card(dataclasses.replace(CARDS["nano"], name="own", licence="house-rules"), model_folder("own"))
    (model_folder("own") / "config.json").write_text("{}")
    tuned = dataclasses.replace(CARDS["xgen-7b-8k-inst"], name="tuned")
    write_card(tuned, model_folder("someone/tuned"))
    (model_folder("someone/tuned") / "config.json").write_text("{}")
    for use, kept in (("commercial", False), ("research", True)):
        found = json.loads(run_xgen("models", "--use", use, "--json").out)
        names = {mark: [one["name"] for one in found[mark]] for mark in ("allowed", "not_allowed", "unknown")}
        assert ("xgen-7b-8k-inst" in names["allowed"], "someone/tuned" in names["allowed"]) == (kept, kept)
        listed = sorted(name for group in names.values() for name in group)
        assert listed == sorted([*CARDS, "own", "someone/tuned"])
        assert all(one["why"] and one["licence_source"] for mark in names for one in found[mark])


def test_a_model_of_the_hub_is_shown_by_the_name_that_it_goes_by(run_xgen: Callable, home: Path) -> None:
    write_card(dataclasses.replace(CARDS["nano"], name="tuned"), model_folder("someone/tuned"))
    (model_folder("someone/tuned") / "config.json").write_text("{}")
    row = next(row for row in run_xgen("models").out.splitlines() if row.startswith("someone/tuned"))
    assert "  yes  " in row, "it is on disk"
    found = json.loads(run_xgen("models", "someone/tuned", "--json").out)
    assert (found["name"], found["on_disk"]) == ("someone/tuned", True)


def test_what_was_given_a_known_name_is_listed_with_its_own_licence(run_xgen: Callable, home: Path) -> None:
    """As `xgen pull OWNER/NAME --as xgen-7b-8k-base` keeps it."""
    narrower = dataclasses.replace(CARDS["xgen-7b-8k-base"], licence="cc-by-nc-4.0", commercial_use=False)
    write_card(narrower, model_folder("xgen-7b-8k-base"))
    assert "cc-by-nc-4.0" in run_xgen("models", "xgen-7b-8k-base").out
    found = json.loads(run_xgen("models", "--use", "commercial", "--json").out)
    assert "xgen-7b-8k-base" in [one["name"] for one in found["not_allowed"]]
    assert not require_model("xgen-7b-8k-base", offline=True)[1].commercial_use


def test_one_damaged_card_hides_no_other_model_and_allows_nothing(run_xgen: Callable, home: Path) -> None:
    write_card(dataclasses.replace(CARDS["nano"], name="whole"), model_folder("whole"))
    for name in ("someone/torn", "xgen-7b-8k-base"):
        write_card(CARDS["nano"], model_folder(name))
        card = model_folder(name) / "card.json"
        card.write_bytes(card.read_bytes()[:100])
    for name in ("whole", "someone/torn", "xgen-7b-8k-base"):
        (model_folder(name) / "config.json").write_text("{}")
    ended = run_xgen("models")
    rows = {row.split()[0].rstrip(":"): row for row in reversed(ended.out.splitlines()) if row}
    assert (ended.code, rows.keys() >= {*CARDS, "whole", "someone/torn"}) == (0, True)
    assert "unknown licence, its card is damaged  not known" in rows["someone/torn"]
    assert "unknown licence, its card is damaged  not known" in rows["xgen-7b-8k-base"]
    assert "card.json: not a valid card (it is not JSON" in ended.out
    found = {one["name"]: one for one in json.loads(run_xgen("models", "--json").out)}
    assert [name for name, one in found.items() if one["damaged"]] == ["xgen-7b-8k-base", "someone/torn"]
    answer = json.loads(run_xgen("models", "--use", "research", "--json").out)
    assert {one["name"] for one in answer["unknown"]} == {"xgen-7b-8k-base", "someone/torn"}
    assert run_xgen("models", "someone/torn").code == 2, "nothing else was asked for"


def test_a_folder_shows_its_own_card(run_xgen: Callable, home: Path) -> None:
    (home / "mine").mkdir()
    assert "unknown licence" in run_xgen("models", "mine").out
    found = json.loads(run_xgen("models", "mine", "--json").out)
    assert (found["licence"], found["allows"]) == ("unknown licence", "not known")
    assert found["on_disk"], "it was named by its place"


def test_bad_wishes_are_one_sentence(run_xgen: Callable) -> None:
    ended = run_xgen("models", "smolm2")
    assert ended.code == 2
    assert "did you mean smollm2" in ended.err
    assert run_xgen("models", "nano", "--use", "commercial").code == 2
    assert run_xgen("models", "--use", "war").code == 2


def test_a_name_shows_what_memory_its_whole_window_takes(run_xgen: Callable, reader) -> None:
    """Pulled or not; an 8K document with 8-bit weights and cache within 10 GB."""
    out = run_xgen("models", "xgen-7b-8k-base").out
    held = dict(line.split(":  ", 1) for line in out.replace(": ", ":  ").splitlines() if "memory, " in line)
    assert len(held) == 4
    sizes = [float(size.strip().removesuffix(" GB")) for size in held.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 18
    assert sizes[-1] < 10
