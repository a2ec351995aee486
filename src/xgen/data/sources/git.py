"""Git repositories at one commit: novels, plays, manuals, read from the object store without a checkout.

The store is a mirror's (MIRROR/OWNER/NAME or MIRROR/OWNER/NAME.git) or a bare one of our own that holds
just that commit.
"""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.extract import extract
from xgen.data.extract.aozora import NotFree
from xgen.data.licences import identifier, licence_of
from xgen.data.recipe import SourceSpec
from xgen.data.sources.objects import BadRepository, Blob, contents, fetch_commit, files_of, has_commit
from xgen.errors import BadDocument
from xgen.show import note

MAX_FILE = 32 << 20  # bytes; the largest novel measured has 5 MB
_ADDRESS = re.compile(r"(?:(?:https|file|git)://|/)[^\s]*?([^/\s:]+)/([^/\s]+?)(?:\.git)?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STATEMENT = re.compile(r"(licen[cs]e|copying|readme)([._-][\w.-]*)?", re.IGNORECASE)
# What folders call a language where ISO 639-1 has another word for it.
_ALIASES = {"pt_br": "pt", "pt-br": "pt", "pt_pt": "pt", "pt-pt": "pt", "zh_cn": "zh", "zh-cn": "zh"}


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """Have the commit on this machine: nothing to do where a mirror or an earlier run holds it.

    BadRepository if git is not there, the address is none, or the commit cannot be fetched.
    """
    if _found(spec, downloads, mirror) is None:
        if not quiet:
            note(f"{spec.name}: fetching {spec.url} at {spec.commit[:12]}")
        fetch_commit(spec.url, spec.commit, _own(spec, downloads))


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """The chosen files of the commit as documents, in the order of their paths.

    Chosen are those that `take` names (all, if it names none) and `leave` does not, whose path names one
    of `languages` where the source's language is not fixed. With `max_mb_per_package` a sample of that
    many MB of files is read: those with the smallest digests of their paths, the same on every machine.
    The licence is the recipe's where it says where it read it, else what the repository's own licence
    file or readme states; with neither, everything is rejected. BadRepository if nothing is chosen.
    """
    store = _found(spec, downloads, mirror)
    if store is None:
        raise BadRepository(spec.url, f"commit {spec.commit} is not on this machine", "download it first")
    files = list(files_of(store, spec.commit))
    chosen = list(_chosen(spec, files))
    if not chosen:
        raise BadRepository(
            spec.name, f"it chooses none of the {len(files)} files", "mend `take` or `languages`"
        )
    sampled = _sampled([blob for blob, _ in chosen], spec.max_mb_per_package)
    origin = f"{'/'.join(_names(spec.url))}@{spec.commit[:12]}"
    with contents(store) as content:
        licence = identifier(spec.licence) or _own_licence(files, content)
        entities = _entities(files, content) if spec.format == "docbook" else {}
        for blob, language in chosen:
            name = f"{origin}:{blob.path}"
            reason = _fault(blob, licence, blob.path in sampled)
            if reason:
                yield Rejected(spec.name, name, language, reason, "")
                continue
            try:
                for part, text in _texts(content(blob), blob.path, spec, entities):
                    yield Document(text, spec.name, name + part, licence, language)
            except BadDocument as error:
                reason = "not_free" if isinstance(error, NotFree) else "cannot_be_read"
                yield Rejected(spec.name, name, language, reason, str(error))


def language_in(path: str, languages: tuple[str, ...]) -> str:
    """The language that the first part of `path` with two letters names ("pages.nl/x.md"), or ""."""
    for part in path.lower().split("/"):
        for word in (part, *part.split(".")):
            language = _ALIASES.get(word, word)
            if len(language) == 2 and language.isalpha():
                return language if language in languages else ""
    return ""


def _chosen(spec: SourceSpec, files: list[Blob]) -> Iterator[tuple[Blob, str]]:
    for blob in files:
        taken = not spec.take or any(fnmatch.fnmatchcase(blob.path, glob) for glob in spec.take)
        if taken and not any(fnmatch.fnmatchcase(blob.path, glob) for glob in spec.leave):
            language = spec.language or language_in(blob.path, spec.languages)
            if language:
                yield blob, language


def _sampled(blobs: list[Blob], max_mb: float | None) -> frozenset[str]:
    """Paths of what is read: all, or the files of smallest digests while they make at most `max_mb`."""
    if max_mb is None:
        return frozenset(blob.path for blob in blobs)
    left, paths = max_mb * 1e6, set()
    for blob in sorted(blobs, key=lambda blob: hashlib.sha256(blob.path.encode()).digest()):
        left -= max(blob.size, 0)
        if left < 0:
            break
        paths.add(blob.path)
    return frozenset(paths)


def _fault(blob: Blob, licence: str, is_sampled: bool) -> str:
    """Why a file is not even opened; "" if it is."""
    if not is_sampled:
        return "over_package_cap"
    if not licence:
        return "no_licence_stated"
    if blob.is_link:
        return "link_not_followed"
    if blob.size < 0:
        return "not_in_the_store"
    return "file_too_large" if blob.size > MAX_FILE else ""


def _texts(data: bytes, path: str, spec: SourceSpec, entities: dict[str, str]) -> list[tuple[str, str]]:
    """What a file holds: what its id needs beside the path, and text."""
    if spec.format == "docbook":
        from xgen.data.extract.docbook import extract_docbook

        return [("", extract_docbook(data, entities))]
    if spec.format == "passages":
        from xgen.data.extract.passages import extract_passages

        return extract_passages(path, data, spec.fields.get("text", "text"))
    return extract(path, data, spec.format)


def _names(url: str) -> tuple[str, str]:
    match = _ADDRESS.fullmatch(url)
    if match is None or {"..", "."} & set(match.groups()):  # they name folders of ours
        raise BadRepository(
            url or "url", "it is not the address of a repository", "say https://HOST/OWNER/NAME"
        )
    return match[1], match[2]


def _own(spec: SourceSpec, downloads: Path) -> Path:
    owner, name = _names(spec.url)
    return downloads / "git" / owner / f"{name}-{spec.commit}"


def _found(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Path | None:
    """The store that has the commit, if one is on this machine."""
    owner, name = _names(spec.url)
    if _COMMIT.fullmatch(spec.commit) is None:
        raise BadRepository(spec.url, f"commit {spec.commit!r} is not one", "write all 40 digits of it")
    stores = [_own(spec, downloads)]
    if mirror is not None:
        stores = [mirror / owner / name, mirror / owner / f"{name}.git", *stores]
    return next((store for store in stores if has_commit(store, spec.commit)), None)


def _own_licence(files: list[Blob], content: Callable[[Blob], bytes]) -> str:
    """What the licence file, else the readme, in the repository's root states; "" if none is known."""
    statements = [blob for blob in files if _STATEMENT.fullmatch(blob.path) and 0 <= blob.size < 1 << 20]
    for blob in sorted(statements, key=lambda blob: blob.path.lower().startswith("readme")):
        stated = licence_of(content(blob).decode("utf-8", "replace"))
        if stated:
            return stated
    return ""


def _entities(files: list[Blob], content: Callable[[Blob], bytes]) -> dict[str, str]:
    """The entities that the repository's own .ent files define."""
    from xgen.data.extract.docbook import entities_of

    found: dict[str, str] = {}
    for blob in files:
        if blob.path.endswith(".ent") and 0 <= blob.size < MAX_FILE:
            found |= entities_of(content(blob))
    return found
