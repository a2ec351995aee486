"""A repository of the Hugging Face hub: what it holds at one commit, and its files brought and checked.

The library huggingface_hub knows the hub's addresses, answers and log-ins. Its own download forgets what it
has when the process ends, so files are brought here, going on from the byte where they were stopped.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgen.cards import CARDS, card
from xgen.errors import BadModel, NotPulled, XgenError
from xgen.show import progress

DEADLINE_S = 20.0
"""How long the hub may be silent, before a transfer is tried again or given up."""

TRIES = 5
"""How often in a row a transfer may bring nothing."""

PAUSE_S = 1.0
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_BLOCK_BYTES = 1 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)


@dataclass(frozen=True)
class RepositoryFile:
    """A file at the top of a repository: its bytes, and the digest that the hub lists for it.

    `sha256` of files that the hub stores apart from git (all weights), else `git_sha1`: SHA-1 over "blob",
    the size, a zero byte and the content (git's object id).
    """

    name: str
    n_bytes: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True)
class Repository:
    """What a repository holds at the commit `revision` (40 hex digits), by file name."""

    hub_id: str
    revision: str
    files: dict[str, RepositoryFile]


@dataclass(frozen=True)
class Published:
    """A model to be brought as its makers published it: a repository of the hub, at a revision.

    `dtype` is the type to keep it in, `named` the known name that somebody gives it.
    """

    hub_id: str
    revision: str | None = None
    dtype: str | None = None
    named: str | None = None

    @property
    def name(self) -> str:
        """Under which it is kept: that of the known model which it is, else the hub's id."""
        if self.named is not None:
            return card(self.named).name
        known = (one.name for one in CARDS.values() if one.hub_id == self.hub_id and one.source is None)
        return next(known, self.hub_id)


def published_id(name: str) -> str | None:
    """The hub's id of a model that is brought as its makers published it; None for the others.

    `name` is such an id itself, or that of a known model.
    """
    if "/" in name:
        return name
    known = CARDS.get(name)
    return known.hub_id if known is not None and known.source is None else None


def look_up(hub_id: str, revision: str | None = None) -> Repository:
    """Ask the hub what `hub_id` holds at a revision: a commit, a tag or a branch, by default the main one.

    Raises BadModel for an id that is none, a repository or revision that is not there, or one for which
    one has to log in; NotPulled if the hub cannot be reached.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise BadModel(hub_id, "it is no id of the hub", "name OWNER/NAME")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True, timeout=DEADLINE_S)
    except RevisionNotFoundError as error:
        raise BadModel(
            hub_id, f"it has no revision {revision}", "name a commit, a tag or a branch"
        ) from error
    except GatedRepoError as error:
        raise _must_log_in(hub_id) from error
    except RepositoryNotFoundError as error:
        what = "the hub has no such repository, or it is not for everybody"
        raise BadModel(hub_id, what, "look at its name, or log in with `hf auth login`") from error
    except HfHubHTTPError as error:
        raise _unreached(hub_id, _first_line(error)) from error
    except Exception as error:  # the network library's errors have no common root
        raise _unreached(hub_id, _first_line(error)) from error
    commit = info.sha or ""
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise _unreached(hub_id, "what answered is not the hub")
    found = [_file(sibling) for sibling in info.siblings or ()]
    return Repository(hub_id, commit, {one.name: one for one in found if one is not None})


def bring(repository: Repository, names: Iterable[str], folder: Path, quiet: bool = False) -> None:
    """Bring files of a repository into `folder`; those there already are not brought again.

    Each gets its name when it is whole and its digest is the listed one. What a process that was stopped has
    of a file waits as `NAME.part`. Raises NotPulled if the hub breaks off again and again, BadModel for a
    file with another digest, which is not kept.
    """
    files = [repository.files[name] for name in names]
    missing = [one for one in files if not (folder / one.name).is_file()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with progress("Fetching", sum(one.n_bytes for one in missing), "B", quiet) as advance:
        for one in missing:
            _bring_one(repository, one, folder, advance)


def _bring_one(
    repository: Repository, wanted: RepositoryFile, folder: Path, advance: Callable[[int], None]
) -> None:
    from huggingface_hub import hf_hub_url

    where = f"{repository.hub_id}/{wanted.name}"
    url = hf_hub_url(repository.hub_id, wanted.name, revision=repository.revision)
    part = _Part(folder / f"{wanted.name}.part", wanted, advance)
    failures, reason = 0, ""
    try:
        while part.n_bytes < wanted.n_bytes:
            if failures == TRIES:
                way_out = "connect and pull it again; what is finished is kept"
                raise NotPulled(where, f"the hub broke off {TRIES} times ({reason})", way_out)
            time.sleep(PAUSE_S * failures)
            before = part.n_bytes
            reason = _transfer(where, url, part)
            failures = 0 if part.n_bytes > before else failures + 1
    finally:
        part.close()
    if part.digest() != (wanted.sha256 or wanted.git_sha1):
        part.path.unlink()
        what = f"its digest is {part.digest()}, not {wanted.sha256 or wanted.git_sha1} as the hub lists"
        raise BadModel(where, what, "pull it again; if that does not help, the hub's copy is damaged")
    part.path.replace(folder / wanted.name)


class _Part:
    """The beginning of a file, on the disk, and the digest of what there is of it."""

    def __init__(self, path: Path, wanted: RepositoryFile, advance: Callable[[int], None]) -> None:
        self.path = path
        self.n_bytes = 0
        self._wanted, self._advance = wanted, advance
        self._file = path.open("a+b")
        self._restart()
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            self._count(block)
        if self.n_bytes > wanted.n_bytes:
            self.clear()

    def _restart(self) -> None:
        self._digest = hashlib.sha256() if self._wanted.sha256 else hashlib.sha1(usedforsecurity=False)
        if not self._wanted.sha256:
            self._digest.update(b"blob %d\0" % self._wanted.n_bytes)

    def _count(self, block: bytes) -> None:
        self._digest.update(block)
        self.n_bytes += len(block)
        self._advance(len(block))

    def clear(self) -> None:
        """Forget all of it."""
        self._file.truncate(0)
        self._advance(-self.n_bytes)
        self.n_bytes = 0
        self._restart()

    def write(self, block: bytes) -> None:
        """Add what came, as far as the file reaches."""
        block = block[: self._wanted.n_bytes - self.n_bytes]
        self._file.write(block)
        self._count(block)

    def digest(self) -> str:
        """Of what there is, in hex."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let all of it reach the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _transfer(where: str, url: str, part: _Part) -> str:
    """Bring what is missing of a file as far as it comes; returns why it ended."""
    from huggingface_hub import get_session
    from huggingface_hub.utils._headers import build_hf_headers

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if part.n_bytes:
        headers["Range"] = f"bytes={part.n_bytes}-"
    try:
        with get_session().stream("GET", url, headers=headers, timeout=DEADLINE_S) as response:
            if response.status_code in (401, 403):
                raise _must_log_in(where)
            if 400 <= response.status_code < 500:
                what = f"the hub answers {response.status_code}"
                raise NotPulled(where, what, "pull it again, or name another revision")
            response.raise_for_status()
            if part.n_bytes and response.status_code != 206:
                part.clear()
            for block in response.iter_bytes():  # as they come, or the last of them would be lost
                part.write(block)
    except XgenError:
        raise
    except Exception as error:  # the network library's errors have no common root
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's
        return _first_line(error)
    return "it sent less than it lists"


def _file(sibling: Any) -> RepositoryFile | None:
    """None for a file in a folder, of an odd name, or without size and digest: none of those is brought."""
    sha256 = getattr(sibling.lfs, "sha256", None)
    digests = (("[0-9a-f]{64}", sha256), ("[0-9a-f]{40}", sibling.blob_id))
    known = [text if isinstance(text, str) and re.fullmatch(form, text) else None for form, text in digests]
    if not _FILE_NAME.fullmatch(sibling.rfilename) or not isinstance(sibling.size, int) or not any(known):
        return None
    return RepositoryFile(sibling.rfilename, sibling.size, *known)


def _must_log_in(where: str) -> BadModel:
    what = "its makers give it only to those who have agreed to their terms"
    return BadModel(where, what, "agree on its page of the hub and log in with `hf auth login`")


def _unreached(hub_id: str, reason: str) -> NotPulled:
    way_out = "connect and pull it again, or bring its files otherwise and `xgen import` their folder"
    return NotPulled(hub_id, f"the hub does not answer ({reason})", way_out)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
