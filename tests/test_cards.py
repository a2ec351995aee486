import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.cards import (
    CARDS,
    DEFAULT_TO_CHAT,
    DEFAULT_TO_READ,
    READS,
    Card,
    Source,
    allows,
    card,
    imported_card,
    inherited,
    read_card,
    why,
    write_card,
)
from xgen.errors import BadModel


@pytest.mark.parametrize(
    ("name", "layers", "widths", "vocab_size", "qkv_bias", "tied"),
    [
        ("qwen-0.5b", 24, (896, 4864, 128), 151_936, True, True),
        ("qwen-1.5b", 28, (1536, 8960, 256), 151_936, True, True),
        ("smollm2", 30, (576, 1536, 192), 49_152, False, True),
        ("xgen-7b-4k-base", 32, (4096, 11008, 4096), 51_200, False, False),
        ("xgen-7b-8k-base", 32, (4096, 11008, 4096), 51_200, False, False),
        ("xgen-7b-8k-inst", 32, (4096, 11008, 4096), 51_200, False, False),
    ],
)
def test_parameters_follow_from_the_published_shape(
    name: str, *, layers: int, widths: tuple[int, int, int], vocab_size: int, qkv_bias: bool, tied: bool
) -> None:
    d_model, d_ff, kv = widths
    attention = 2 * d_model * d_model + 2 * d_model * kv + (d_model + 2 * kv if qkv_bias else 0)
    layer = attention + 3 * d_model * d_ff + 2 * d_model
    embedding = vocab_size * d_model
    assert CARDS[name].n_parameters == embedding * (1 if tied else 2) + layers * layer + d_model


def test_licences_say_what_may_be_sold() -> None:
    allowed = {name: entry.commercial_use for name, entry in CARDS.items()}
    assert allowed == {
        "qwen-0.5b": True,
        "qwen-1.5b": True,
        "smollm2": True,
        "nano": True,
        "reader": True,
        "reader-1.5b": True,
        "xgen-7b-4k-base": True,
        "xgen-7b-8k-base": True,
        "xgen-7b-8k-inst": False,
    }
    for entry in CARDS.values():
        assert entry.commercial_use == (entry.licence in ("Apache-2.0", "CC-BY-SA-4.0"))
        assert entry.licence_source
    inst = CARDS["xgen-7b-8k-inst"]
    assert inst.licence == "research only"
    assert "research" in inst.licence_source


def test_languages_and_windows() -> None:
    assert len(CARDS["xgen-7b-8k-base"].languages) == 22
    assert CARDS["smollm2"].languages == ("en",)
    assert {"zh", "en", "ar", "th", "vi"} <= set(CARDS["qwen-0.5b"].languages)
    windows = [entry.window_tokens for entry in CARDS.values()]
    assert windows == [32_768, 32_768, 8192, 8192, 32_768, 32_768, 4096, 8192, 8192]
    for entry in CARDS.values():
        assert sorted(set(entry.languages)) == list(entry.languages)


def test_every_known_card_survives_its_own_strict_reading(tmp_path: Path) -> None:
    for name, entry in CARDS.items():
        assert name == entry.name
        write_card(entry, tmp_path / name)
        assert read_card(tmp_path / name) == entry
    assert CARDS[DEFAULT_TO_READ].source == CARDS[DEFAULT_TO_CHAT].source is not None


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    assert card("smollm2") is CARDS["smollm2"]
    with pytest.raises(BadModel, match=r"did you mean qwen-1\.5b\?") as raised:
        card("Qwen-1.5b")
    for name in CARDS:
        assert name in str(raised.value)
    with pytest.raises(BadModel, match="choose one of qwen-0"):
        card("")


def test_a_folder_without_a_card_has_an_unknown_licence(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    entry = read_card(folder)
    assert (entry.name, entry.licence, entry.commercial_use) == ("mine", "unknown licence", False)
    assert entry.source is None
    with pytest.raises(BadModel, match="no such folder"):
        read_card(tmp_path / "not there")


words = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
hashes = st.text("0123456789abcdef", min_size=40, max_size=40)
hubs = st.one_of(
    st.just((None, None, None)), st.tuples(st.builds("{}/{}".format, names, names), hashes, names)
)
sources = st.builds(
    lambda hub, **rest: Source(hub_repo=hub[0], hub_revision=hub[1], hub_file=hub[2], **rest),
    hubs,
    file=names,
    n_bytes=st.integers(0, 2**50),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    wheels=st.lists(st.tuples(names, names), max_size=4).map(tuple),
)
cards = st.builds(
    Card,
    name=words,
    title=words,
    licence=words,
    licence_source=words,
    commercial_use=st.booleans(),
    languages=st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=2), max_size=4).map(tuple),
    window_tokens=st.integers(0, 2**40),
    n_parameters=st.integers(0, 2**50),
    source=st.none() | sources,
    default_read=st.sampled_from(READS),
    warning=st.just("") | words,
    hub_id=st.none() | st.builds("{}/{}".format, names, names),
)


@given(cards)
@settings(deadline=None)  # a disk may take its time
def test_law_a_written_card_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, entry: Card
) -> None:
    folder = tmp_path_factory.mktemp("card")
    write_card(entry, folder)
    assert read_card(folder) == entry


def as_table(**changes: object) -> dict[str, object]:
    return {**dataclasses.asdict(CARDS["smollm2"]), **changes}


def with_source(**changes: object) -> dict[str, object]:
    source = CARDS["smollm2"].source
    assert source is not None
    return as_table(source={**dataclasses.asdict(source), **changes})


def lacking(key: str) -> dict[str, object]:
    table = as_table()
    del table[key]
    return table


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([], "must be a table"),
        (as_table(licens="MIT"), "unknown field 'licens'"),
        (lacking("licence"), "lacks the field 'licence'"),
        (as_table(commercial_use="no"), "'commercial_use' must be true or false"),
        (as_table(commercial_use=1), "'commercial_use' must be true or false"),
        (as_table(window_tokens=True), "'window_tokens' must be a whole number"),
        (as_table(window_tokens=-1), "'window_tokens' must be a whole number"),
        (as_table(n_parameters=1.5), "'n_parameters' must be a whole number"),
        (as_table(licence=None), "'licence' must be printable"),
        (as_table(licence="MIT\x1b[2J"), "'licence' must be printable"),
        (as_table(title="two\nlines"), "'title' must be printable"),
        (as_table(title="\ud800"), "'title' must be printable"),
        (as_table(languages="en"), "'languages' must be a list"),
        (as_table(languages=["eng"]), "'languages' cannot be 'eng'"),
        (as_table(default_read="head"), "'default_read' must be one of"),
        (as_table(source=[]), "'source' must be a table"),
        (as_table(warning="\x1b[2J"), "'warning' must be printable"),
        (as_table(warning=None), "'warning' must be printable"),
        (as_table(hub_id="../evil"), "'hub_id' cannot be '../evil'"),
        (with_source(file="../../evil"), "'file' cannot be"),
        (with_source(sha256="00"), "'sha256' cannot be '00'"),
        (with_source(hub_repo="a/b"), "together or not at all"),
        (with_source(hub_repo="a/b", hub_revision="main", hub_file="c"), "'hub_revision' cannot be 'main'"),
        (with_source(hub_repo="a/b", hub_revision="0" * 40, hub_file="../c"), "'hub_file' cannot be '../c'"),
        (with_source(wheels=[["--index-url=http://evil", "1"]]), "'wheels' cannot be"),
        (with_source(wheels=[["a"]]), "pairs of package and version"),
    ],
)
def test_a_card_that_is_not_exactly_a_card_is_refused(tmp_path: Path, table: object, reason: str) -> None:
    (tmp_path / "card.json").write_text(json.dumps(table))
    with pytest.raises(BadModel) as raised:
        read_card(tmp_path)
    assert reason in str(raised.value)
    assert "card.json" in raised.value.where


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xff", "not UTF-8"),
        (b"[" * 60_000, "nested too deeply"),
        (b" " * 70_000, "larger than"),
        (b'{"name": "a", "name": "b"}', "twice"),
        (b'{"n_parameters": ' + b"9" * 6000 + b"}", "not a valid card"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "card.json").write_bytes(data)
    with pytest.raises(BadModel) as raised:
        read_card(tmp_path)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def without_card(folder: Path, readme: str | None) -> Card:
    folder.mkdir()
    if readme is not None:
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return read_card(folder)


@pytest.mark.parametrize(
    ("readme", "licence", "commercial"),
    [
        (None, "unknown licence", False),
        ("# A model\nlicense: mit\n", "unknown licence", False),
        ("---\nlanguage: en\n---\nlicense: mit\n", "unknown licence", False),
        ("---\nlicense: apache-2.0\ntags:\n- code\n---\n# A model\n", "Apache-2.0", True),
        ("---\r\nlicense: 'mit' # as stated\r\n---\r\n", "MIT", True),
        ("---\nlicense:\n- cc-by-sa-4.0\n---\n", "CC-BY-SA-4.0", True),
        ("---\nlicense: [mit]\n---\n", "MIT", True),
        ("---\nlicense:\n- mit\n- cc-by-nc-4.0\n---\n", "mit; cc-by-nc-4.0", False),
        (
            "---\nlicense: # which?\n  - mit\n  - cc-by-nc-4.0\ntags:\n- mit\n---\n",
            "mit; cc-by-nc-4.0",
            False,
        ),
        ("---\nlicense: [mit, cc-by-nc-4.0]\n---\n", "mit, cc-by-nc-4.0", False),
        ("---\nlicense:\ntags:\n- mit\n---\n", "unknown licence", False),
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0", False),
        ("---\nlicense: other\nlicense_name: house-rules\n---\n", "house-rules", False),
        ("---\nlicense: unknown\n---\n", "unknown licence", False),
        ("---\nlicense: mit\x1b[2J\n---\n", "unknown licence", False),
    ],
)
def test_a_readme_states_a_licence_in_its_front_matter_only(
    tmp_path: Path, *, readme: str | None, licence: str, commercial: bool
) -> None:
    found = without_card(tmp_path / "mine", readme)
    assert (found.licence, found.commercial_use) == (licence, commercial)


def test_old_cards_are_read_without_the_new_fields(tmp_path: Path) -> None:
    old = as_table()
    del old["warning"], old["hub_id"]
    (tmp_path / "card.json").write_text(json.dumps(old))
    found = read_card(tmp_path)
    assert found == dataclasses.replace(CARDS["smollm2"], hub_id=None)


XGEN_SIZE = 6_895_702_016


@pytest.mark.parametrize("place", ["{}", "Salesforce/{}"])
@pytest.mark.parametrize("kind", ["4k-base", "8k-base", "8k-inst"])
def test_published_weights_are_known_by_their_exact_name(place: str, kind: str) -> None:
    name = f"xgen-7b-{kind}"
    found = imported_card(None, None, place.format(name), n_parameters=XGEN_SIZE, window_tokens=8192)
    assert (found.name, found.window_tokens) == (name, CARDS[name].window_tokens)
    assert (found.licence, found.commercial_use) == (CARDS[name].licence, CARDS[name].commercial_use)
    assert "January 2025" in found.warning
    assert name in found.licence_source.rpartition("(")[2]


@pytest.mark.parametrize(
    ("place", "n_parameters"),
    [
        ("Someone/xgen-7b-8k-base", XGEN_SIZE),
        ("xgen-7b-8k-base-tuned", XGEN_SIZE),
        ("xgen-7b-8k-base", XGEN_SIZE + 4096),
        ("XGen-7B-8K-Base", XGEN_SIZE),
    ],
)
def test_law_the_8k_base_is_never_guessed(place: str, n_parameters: int) -> None:
    found = imported_card(None, None, place, n_parameters=n_parameters, window_tokens=8192)
    assert (found.licence, found.commercial_use) == ("unknown licence", False)
    assert (found.n_parameters, found.window_tokens) == (n_parameters, 8192)
    assert found.name == place.rpartition("/")[2]


def test_a_person_may_say_what_a_folder_is_but_not_widen_it() -> None:
    def stated(name: str, readme: str | None = None, n: int = XGEN_SIZE, window: int = 8192) -> Card:
        return imported_card(name, readme, "weights", n_parameters=n, window_tokens=window)

    assert stated("xgen-7b-4k-base").window_tokens == 4096
    assert stated("xgen-7b-8k-base", window=4096).window_tokens == 4096
    wrongly = stated("xgen-7b-8k-inst", "---\nlicense: apache-2.0\n---\n")
    assert (wrongly.licence, wrongly.commercial_use) == ("research only; README.md: Apache-2.0", False)
    narrower = stated("xgen-7b-8k-base", "---\nlicense: cc-by-nc-4.0\n---\n")
    assert not narrower.commercial_use
    assert allows(narrower, "research")
    with pytest.raises(BadModel, match="it has 5 parameters"):
        stated("xgen-7b-8k-base", n=5)
    published = ("Salesforce/xgen-7b-8k-inst", "xgen-7b-8k-inst")
    for place in published:
        size = {"n_parameters": XGEN_SIZE, "window_tokens": 8192}
        assert not imported_card("xgen-7b-8k-base", None, place, **size).commercial_use
    with pytest.raises(BadModel, match="no model of this name"):
        stated("xgen-7b")


def test_what_a_model_forbids_and_warns_of_reaches_what_is_made_from_it() -> None:
    own = dataclasses.replace(CARDS["nano"], name="tuned", warning="of its own")
    made = inherited(own, CARDS["xgen-7b-8k-inst"])
    assert (made.licence, made.commercial_use) == ("Apache-2.0; xgen-7b-8k-inst: research only", False)
    assert made.warning == f"of its own; {CARDS['xgen-7b-8k-inst'].warning}"
    assert inherited(made, CARDS["xgen-7b-8k-base"]).warning.count("January 2025") == 1


@pytest.mark.parametrize(
    ("licence", "commercial_use", "allowed"),
    [
        ("Apache-2.0", True, (True, True)),
        ("research only", False, (False, True)),
        ("CC-BY-NC-4.0", False, (False, True)),
        ("unknown licence", False, (None, None)),
        ("unknown licence; smollm2: Apache-2.0", False, (None, None)),
        ("house-rules", False, (None, None)),
    ],
)
def test_what_is_not_stated_is_not_allowed(
    *, licence: str, commercial_use: bool, allowed: tuple[bool | None, bool | None]
) -> None:
    one = dataclasses.replace(CARDS["nano"], licence=licence, commercial_use=commercial_use)
    assert (allows(one, "commercial"), allows(one, "research")) == allowed
    for use in ("commercial", "research"):
        assert licence in why(one, use)
