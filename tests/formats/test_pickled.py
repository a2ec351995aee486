"""Files of torch.save, read without unpickling: against torch itself, and what is refused in one sentence."""

import io
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xgen.errors import BadModel
from xgen.formats.pickled import read_pickled

FLOATS = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
SIZES = st.lists(st.integers(0, 5), min_size=0, max_size=3)


def plain(n: int = 2) -> dict[str, torch.Tensor]:
    return {f"layer.{i}.weight": torch.arange(6.0).view(2, 3) + i for i in range(n)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pytorch_model-00001-of-00002.bin"


@given(
    views=st.dictionaries(st.text(max_size=20), st.tuples(SIZES, FLOATS, st.booleans()), max_size=5),
    protocol=st.integers(2, 5),
)
def test_against_torch_every_tensor(
    views: dict[str, Any], protocol: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state: dict[str, Any] = OrderedDict()
    for name, (size, dtype, turned) in views.items():
        tensor = torch.randn(size).to(dtype)
        state[name] = torch.nn.Parameter(tensor.mT if turned and len(size) > 1 else tensor)
    path = tmp_path_factory.getbasetemp() / "any.bin"
    torch.save(state, path, pickle_protocol=protocol)
    theirs = torch.load(path, weights_only=False)  # the other way knows protocol 2 alone
    ours = read_pickled(path)
    assert list(ours) == list(theirs)
    for name, stored in ours.items():
        read = stored.read()
        assert (read.dtype, read.shape) == (theirs[name].dtype, theirs[name].shape)
        assert torch.equal(read, theirs[name])


@pytest.mark.parametrize("layout", ["stem", "archive", "without the newer records"])
def test_against_torch_both_layouts(path: Path, layout: str) -> None:
    """A file's own name as the prefix, or `archive`; with what torch 2 added to the records and without."""
    shared = torch.arange(24.0)
    state = torch.nn.Linear(3, 2).state_dict() | {"a": shared[4:16].view(3, 4).t(), "b": shared[20:]}
    if layout == "stem":
        torch.save(state, path)
    else:
        torch.save(state, buffer := io.BytesIO())
        path.write_bytes(buffer.getvalue())
    if layout == "without the newer records":
        names = zipfile.ZipFile(path).namelist()
        rewrite(path, drop=[n for n in names if "byteorder" in n or "/." in n])
    assert zipfile.ZipFile(path).namelist()[0].startswith("archive/" if layout != "stem" else path.stem)
    theirs = torch.load(path, weights_only=True)
    ours = read_pickled(path)
    assert list(ours) == list(theirs)
    assert all(torch.equal(stored.read(), theirs[name]) for name, stored in ours.items())
    assert (ours["a"].start, ours["a"].offset) == (ours["b"].start, 4)


def test_only_what_is_held_is_in_memory(path: Path) -> None:
    torch.save({"a": torch.ones(1 << 20), "b": torch.ones(1 << 20)}, path)
    found = read_pickled(path)
    here = [found["a"].read()]
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not say what is mapped")
    assert maps.read_text().count(path.name) == 1
    here.clear()
    assert path.name not in maps.read_text()


class Calls:
    """What unpickling would run."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.said = (function, arguments)

    def __reduce__(self) -> Any:
        return self.said


CALLS = [Calls(os.system, "touch RAN"), Calls(eval, "open('RAN', 'w')"), Calls(getattr, "text", "upper")]


@pytest.mark.parametrize("call", CALLS, ids=["system", "eval", "getattr"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("nested", [False, True])
def test_what_a_pickle_asks_for_is_never_called(
    path: Path, call: Calls, protocol: int, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    state = {**plain(), "x": {"y": (1, call)}} if nested else call
    torch.save(state, path, pickle_protocol=protocol)
    refused = r"its pickle names (posix|nt|os|builtins|__builtin__)\.(system|eval|getattr), which"
    with pytest.raises(BadModel, match=refused):
        read_pickled(path)
    assert not Path("RAN").exists()


def saved(data: bytes, records: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED) -> bytes:
    """An archive around a pickle, as torch.save lays it out."""
    with zipfile.ZipFile(file := io.BytesIO(), "w", kind) as archive:
        for name, content in ({"a/data.pkl": data, "a/version": b"3\n"} | (records or {})).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that stand there twice
                archive.writestr(name, content)
    return file.getvalue()


GLOBAL, STORAGE = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"
TABLE = b"ccollections\nOrderedDict\n)R"


def number(n: int) -> bytes:
    return b"J" + struct.pack("<i", n)


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words.encode())) + words.encode()


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    offset: int = 0,
    n: int = 6,
    **more: bytes,
) -> bytes:
    storage = b"((" + text("storage") + more.get("kind", STORAGE) + text(more.get("key", b"0").decode())
    storage = storage[1:] + text("cpu") + number(n) + b"tQ"
    sizes = (b"(" + b"".join(map(number, these)) + b"t" for these in (shape, strides))
    return GLOBAL + b"(" + storage + number(offset) + b"".join(sizes) + b"\x89" + TABLE + b"tR"


def listing(made: bytes, name: str = "w") -> bytes:
    return b"\x80\x02}" + text(name) + made + b"s."


NUMBERS = {"a/data/0": struct.pack("<6f", *range(6))}


def test_the_makers_of_bad_files_make_good_ones(path: Path) -> None:
    path.write_bytes(saved(listing(tensor()), NUMBERS))
    assert torch.equal(torch.load(path)["w"], torch.arange(6.0).view(2, 3))
    assert torch.equal(read_pickled(path)["w"].read(), torch.arange(6.0).view(2, 3))


ENDLESS = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
"""A tuple that holds one twice, which holds one twice, ...: 2^60 of them, for who writes it out."""


@pytest.mark.parametrize(
    ("pickled", "what"),
    [
        (listing(tensor(strides=(4, 1))), "beyond its own numbers"),
        (listing(tensor(offset=1)), "beyond its own numbers"),
        (listing(tensor(shape=(1 << 20, 1 << 20), strides=(0, 0))), "beyond its own numbers"),
        (listing(tensor(strides=(-3, 1))), "where a size stands"),
        (listing(tensor(offset=-1)), "where a size stands"),
        (listing(tensor(shape=(2,))), "without a shape"),
        (listing(tensor(n=7)), "of 7 numbers and has 24 bytes"),
        (listing(tensor(key=b"1")), "the numbers of w are missing"),
        (listing(tensor(key=b"../../0")), "the numbers of w are missing"),
        (listing(tensor(kind=b"ctorch\nQInt8Storage\n")), "names torch.QInt8Storage"),
        (listing(tensor(kind=GLOBAL)), "fp32, fp16 or bf16"),
        (listing(TABLE), "'w', which is no tensor"),
        (listing(number(3)), "'w', which is no tensor"),
        (listing(b"cposix\nsystem\n"), "names posix.system"),
        (listing(STORAGE + b")R"), "calls torch.FloatStorage"),
        (listing(GLOBAL + b")R"), "calls torch._utils._rebuild_tensor_v2 with"),
        (listing(text("x") + b")R"), "calls something"),
        (listing(tensor() + b"}b"), "sets attributes"),
        (listing(tensor()) + b"}.", "does not end"),
        (b"\x80\x02}" + 2 * (text("w") + tensor() + b"s") + b".", "'w' twice"),
        (b"\x80\x02}" + number(3) + tensor() + b"s.", "no text"),
        (b"\x80\x02}(" + text("w") + b"u.", "no table"),
        (b"\x80\x02" + tensor() + b".", "no table of tensors"),
        (b"\x80\x02(}t" + b".", "no table of tensors"),
        (b"\x80\x02}", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02h\5.", "never kept"),
        (b"\x80\x02u.", "never put there"),
        (b"\x80\x02}(ss.", "never put there"),
        (b"\x80\x02t.", "never put there"),
        (b"\x80\x02]" + b".", "EMPTY_LIST"),
        (b"\x80\x02}" + b"X\xff\xff\xff\x7fx" + b"s.", "damaged"),
        (b"(iposix\nsystem\n.", "INST"),
        (b"\x80\x02" + text("a") + b"\x93.", "never put there"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02}" + ENDLESS + tensor() + b"s.", "'tuple' twice"),
        (b"\x80\x02" + ENDLESS + text("system") + b"\x93.", "names tuple.system"),
    ],
)
def test_what_no_list_of_tensors_does_is_refused(path: Path, pickled: bytes, what: str) -> None:
    path.write_bytes(saved(pickled, NUMBERS))
    with pytest.raises(BadModel, match=what.replace(".", r"\.")):
        read_pickled(path)


def rewrite(path: Path, drop: list[str] = (), **how: Any) -> None:  # type: ignore[assignment]
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist() if name not in drop}
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


GOOD = saved(listing(tensor()), NUMBERS)


def patched(old: bytes, new: bytes, count: int = -1) -> bytes:
    assert (old in GOOD, len(old)) == (True, len(new))
    return GOOD.replace(old, new, count)


def entry_at(data: bytes, name: bytes) -> int:
    return data.rindex(name) - 46


def with_field(name: bytes, at: int, layout: str, value: int) -> bytes:
    """The good archive, one field of an entry in its list changed."""
    data = bytearray(GOOD)
    struct.pack_into(layout, data, entry_at(GOOD, name) + at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "cannot be read"),
        (b"PK\3\4", "cut off"),
        (GOOD + b"more", "something was added"),
        (saved(listing(tensor()), NUMBERS, zipfile.ZIP_DEFLATED), "is packed"),
        (saved(b"0" * (1 << 23) + b"."), "above 8,388,608"),
        (saved(listing(tensor()), NUMBERS | {"a/../../x": b""}), "not of a file in it"),
        (saved(listing(tensor()), NUMBERS | {"a//x": b""}), "not of a file in it"),
        (saved(listing(tensor()), NUMBERS | {"b/x": b""}), "under 2 names"),
        (saved(listing(tensor()), NUMBERS | {"a/constants.pkl": b""}), "TorchScript"),
        (saved(listing(tensor()), NUMBERS | {"a/byteorder": b"big"}), "byte order"),
        (patched(b"a/version", b"a/data/00").replace(b"a/data/00", b"a/data/0\0"), "not of a file in it"),
        (patched(b"a/version", b"/x/versio"), "not of a file in it"),
        (patched(b"a/version", b"a\\versio\\"), "not of a file in it"),
        (patched(b"a/version", b"a/versioN", 1), "another name in its own header"),
        (with_field(b"a/data/0", 20, "<I", 23), "is packed"),
        (with_field(b"a/data/0", 10, "<H", 8), "is packed"),
        (with_field(b"a/data/0", 8, "<H", 1), "is packed"),
        (with_field(b"a/data/0", 42, "<I", 1), "not where the list says"),
        (with_field(b"a/data/0", 42, "<I", 1 << 30), "not where the list says"),
        (with_field(b"a/data/0", 16, "<I", 5), "not those once written"),
        (with_field(b"a/data/0", 28, "<H", 60_000), "list of entries is damaged"),
        (with_field(b"a/data.pkl", 0, "<I", 5), "list of entries is damaged"),
        (GOOD[:-12] + struct.pack("<H", 65_000) + GOOD[-10:], "does not fit it"),
        (GOOD[:-12] + struct.pack("<H", 2) + GOOD[-10:], "not that of 2"),
        (saved(listing(tensor()), {"a/data/1": b""}), "numbers of w are missing"),
        (saved(b"", {"a/data.pkl": b""}), "damaged"),
    ],
)
def test_damaged_and_hostile_archives_are_one_sentence(path: Path, content: bytes, what: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BadModel, match=what):
        [stored.read() for stored in read_pickled(path).values()]


def test_entries_that_share_bytes_are_refused(path: Path) -> None:
    """As in the bombs that say one stretch is many files (Fifield 2019)."""
    data = bytearray(saved(listing(tensor()), NUMBERS | {"a/data/1": NUMBERS["a/data/0"]}))
    inner = data.index(b"PK\3\4", data.index(b"a/data/0"))
    at = entry_at(bytes(data), b"a/data/0")
    size = len(data)  # the first of the two claims the second's bytes too
    for field in (20, 24):
        struct.pack_into("<I", data, at + field, 24 + inner - data.index(b"a/data/0") - 8)
    path.write_bytes(data)
    assert len(data) == size
    with pytest.raises(BadModel, match="share bytes"):
        read_pickled(path)


@pytest.mark.parametrize("limit", [10, 0])
def test_against_zipfile_64_bit_fields(path: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in shards above 4 GB: sizes and places beyond 32 bits stand elsewhere, and so does the list."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", limit)
    path.write_bytes(saved(listing(tensor()), NUMBERS))
    assert b"PK\6\6" in path.read_bytes()
    assert torch.equal(read_pickled(path)["w"].read(), torch.arange(6.0).view(2, 3))
    path.write_bytes(path.read_bytes().replace(b"PK\6\6", b"PK\6\0"))
    with pytest.raises(BadModel, match="does not name its list of entries"):
        read_pickled(path)


def test_a_size_beyond_the_file_is_refused(path: Path) -> None:
    data = bytearray(GOOD)
    for field in (20, 24):
        struct.pack_into("<I", data, entry_at(GOOD, b"a/data/0") + field, 1 << 31)
    path.write_bytes(data)
    with pytest.raises(BadModel, match=r"claims 2,147,483,648 bytes"):
        read_pickled(path)


def test_names_that_stand_twice_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in (listing(tensor()), b"other"):
            archive.writestr("a/data.pkl", content)
    with pytest.raises(BadModel, match=r"a/data\.pkl stands in it twice"):
        read_pickled(path)


def test_an_entry_over_the_list_is_refused(path: Path) -> None:
    path.write_bytes(with_field(b"a/version", 24, "<I", 60)[:])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, entry_at(GOOD, b"a/version") + 20, 60)
    path.write_bytes(data)
    with pytest.raises(BadModel, match=r"share bytes|runs into the list"):
        read_pickled(path)


def test_files_from_before_1_6_are_refused_with_a_way_out(path: Path) -> None:
    torch.save(plain(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(BadModel, match=r"since 1\.6; .* save it again with torch\.save"):
        read_pickled(path)


def test_a_plain_pickle_is_refused(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadModel, match="not a zip archive"):
        read_pickled(path)
    with pytest.raises(BadModel, match="cannot be read"):
        read_pickled(path.with_name("none"))


@given(cut=st.integers(0, len(GOOD) - 1))
def test_law_a_cut_file_is_one_sentence(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.bin"
    path.write_bytes(GOOD[:cut])
    with pytest.raises(BadModel):
        read_pickled(path)


@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(1, 255))
def test_law_a_changed_byte_gives_the_same_numbers_or_one_sentence(
    at: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.bin"
    data = bytearray(GOOD)
    data[at] ^= value
    path.write_bytes(data)
    try:
        found = read_pickled(path)["w"].read()
    except BadModel:
        return
    assert torch.equal(found, torch.arange(6.0).view(2, 3))


@given(made=st.binary(max_size=40), at=st.integers(0, 60))
def test_law_any_pickle_is_tensors_or_one_sentence(
    made: bytes, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    good = listing(tensor())
    path.write_bytes(saved(good[:at] + made + good[at + len(made) :], NUMBERS))
    try:
        found = read_pickled(path)
    except BadModel:
        return
    assert all(stored.read().numel() <= 6 for stored in found.values())
