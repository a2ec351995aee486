"""Git's object store as a read-only archive: what files a commit has and what is in them, no checkout.

Nothing of a repository is run: no hooks, no submodules, no filters, no work tree. What is missing from a
store (a partial clone) is told by its size of -1 and never fetched behind our back.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xgen.errors import XgenError
from xgen.files import whole_folder

MAX_FILES = 500_000
FETCH_SECONDS = 3600
_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "protocol.allow=never")
_FETCH = tuple(word for name in ("https", "file", "git") for word in ("-c", f"protocol.{name}.allow=always"))


class BadRepository(XgenError):
    """A repository that cannot be fetched or read, or a commit that it does not have."""


@dataclass(frozen=True)
class Blob:
    """A file of a commit: path, name of its object, bytes (-1: missing from the store), link or not."""

    path: str
    sha: str
    size: int
    is_link: bool = False


def has_commit(store: Path, commit: str) -> bool:
    """Whether the folder is a git object store that holds this commit."""
    if not (store / "objects").is_dir():
        return False
    return _git(store, ("cat-file", "-e", f"{commit}^{{commit}}"), "").returncode == 0


def fetch_commit(url: str, commit: str, store: Path) -> None:
    """Make a bare store that holds one commit of `url` and nothing of its past; whole or not there.

    Only https, file and git addresses are followed; git asks for no password. BadRepository says what
    went wrong.
    """
    with whole_folder(store) as draft:
        _checked(draft, ("init", "--bare", "--quiet", "--template=", str(draft)), url)
        wanted = ("--depth", "1", "--no-tags", "--no-recurse-submodules", "--", url)
        _checked(draft, (*_FETCH, "fetch", "--quiet", *wanted, f"{commit}:refs/heads/pinned"), url)
        if not has_commit(draft, commit):
            raise BadRepository(url, f"it has no commit {commit}", "name a commit that it has")


def files_of(store: Path, commit: str) -> Iterator[Blob]:
    """Every file of the commit in git's order of paths; commits of submodules are no files."""
    listed = _checked(store, ("ls-tree", "-r", "-l", "-z", "--full-tree", commit), str(store)).stdout
    entries = listed.split(b"\0")
    if len(entries) > MAX_FILES:
        raise BadRepository(str(store), f"the commit has more than {MAX_FILES:,} files", "leave it out")
    for entry in entries:
        about, _, path = entry.partition(b"\t")
        if about:
            mode, kind, sha, size = about.split()
            if kind == b"blob":
                n_bytes = int(size) if size.isdigit() else -1
                yield Blob(path.decode("utf-8", "replace"), sha.decode(), n_bytes, mode == b"120000")


@contextmanager
def contents(store: Path) -> Iterator[Callable[[Blob], bytes]]:
    """A function from a blob to its bytes, served by one git process for the whole block."""
    with subprocess.Popen(
        _command(store, ("cat-file", "--batch")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to_git, from_git = process.stdin, process.stdout
        try:
            yield lambda blob: _ask(to_git, from_git, blob, str(store))
        finally:
            to_git.close()
            process.kill()


def _ask(to_git: IO[bytes], from_git: IO[bytes], blob: Blob, where: str) -> bytes:
    to_git.write(blob.sha.encode() + b"\n")
    to_git.flush()
    answer = from_git.readline().split()
    if len(answer) != 3:
        raise BadRepository(where, f"{blob.path} is missing or damaged in it", "fetch it anew")
    data = from_git.read(int(answer[2]) + 1)[:-1]
    if len(data) != int(answer[2]):
        raise BadRepository(where, f"{blob.path} is damaged in it", "fetch it anew")
    return data


def _checked(store: Path, words: Sequence[str], where: str) -> "subprocess.CompletedProcess[bytes]":
    done = _git(store, words, where)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        reason = next((line for line in said if line.startswith("fatal:")), said[-1])
        raise BadRepository(
            where,
            f"git failed: {reason.removeprefix('fatal: ').rstrip('.')}",
            "see the address and the commit",
        )
    return done


def _git(store: Path, words: Sequence[str], where: str) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            _command(store, words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
            timeout=FETCH_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise BadRepository(
            "git", "it is not installed here", "install it (on Debian: apt install git)"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BadRepository(where, f"git took more than {FETCH_SECONDS} seconds", "try again") from error


def _command(store: Path, words: Sequence[str]) -> list[str]:
    return ["git", f"--git-dir={store}", *_SAFE, *words]


def _environment() -> dict[str, str]:
    """Ours without git's variables (a hook of a repository that we run in would leave its own)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
    return {**kept, **quiet, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ASKPASS": "true", "LC_ALL": "C"}
