"""What packages of all kinds have in common: which of their files are wanted, in which language, as what."""

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.extract import code_language, extract
from xgen.data.licences import is_open
from xgen.data.recipe import CODE, SourceSpec
from xgen.data.sources.archives import Member, unpacked
from xgen.errors import BadDocument, XgenError

# ISO 639-1 codes that name a folder or the end of a file's name. Left out are those that mean something
# else at least as often (is, no, io, os, ps, tk, ...), unless we learn that language.
_CODES = frozenset(
    re.findall(
        r"\w+",
        "af ar ast az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gd gl he hi hr hu hy ia id it "
        "ja ka kk km ko lt lv mk ml mn mr ms nb ne nl nn oc pa pl pt ro ru si sk sl sq sr sv sw ta te tg th "
        "tr ug uk uz vi zh",
    )
)
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[_-][A-Za-z]{2,4})?(?:\.[Uu][Tt][Ff]-?8)?(?:@\w+)?")
_PLACES = frozenset({"locale", "locales", "HTML", "i18n", "help"})  # a folder right below these is a language
_IN_NAME = re.compile(r"[._-]([a-z]{2}(?:[_-](?:[A-Z]{2}|[a-z]{2}))?)(?=\.|$)")
_IN_PACKAGE = re.compile(r"-([a-z]{2})(?:-(?:cn|tw|br|pt|gb|us|no))?(?:-dev)?$")


@dataclass(frozen=True)
class Package:
    """A package on this machine: `label` is NAME==VERSION as its archive says, `licence` what it states."""

    name: str
    label: str
    archive: Path
    licence: str


def name_and_version(entry: str) -> tuple[str, str]:
    """The two of "NAME==VERSION"; the version is "" if none is asked for."""
    name, _, version = entry.partition("==")
    return name.strip(), version.strip()


def newest(found: Iterable[Path], entry: str) -> Path:
    """The archive that was brought last; XgenError if there is none."""
    files = sorted(found, key=lambda path: (path.stat().st_mtime, path.name))
    if not files:
        raise XgenError(entry, "it is not on this machine", "download it first")
    return files[-1]


def language_of_path(path: str) -> str:
    """The ISO 639-1 code that a path names: a folder (de, pt_BR, sr@latin), else a name (x.de.txt); or ""."""
    *folders, name = path.split("/")
    for above, folder in zip(["", *folders], folders, strict=False):
        found = _LANGUAGE.fullmatch(folder)
        if found and (found[1] in _CODES or above in _PLACES):
            return found[1]
    whole = _LANGUAGE.fullmatch(name.partition(".")[0])
    if whole and (whole[1] in _CODES or (folders and folders[-1] in _PLACES)):
        return whole[1]
    named = [found[1][:2] for found in _IN_NAME.finditer(name)]
    return next((code for code in reversed(named) if code in _CODES), "")


def language_of_package(name: str) -> str:
    """The ISO 639-1 code at the end of a package's name ("manpages-de-dev", "fortunes-ru"), or ""."""
    found = _IN_PACKAGE.search(name)
    return found[1] if found and found[1] in _CODES else ""


def wanted(spec: SourceSpec, package: str) -> Callable[[str], bool]:
    """Which paths a source asks for: by `take` and `leave`; code by suffix, else by language."""
    take, leave = _any_of(spec.take or ("*",)), _any_of(spec.leave)

    def is_wanted(path: str) -> bool:
        if not take.fullmatch(path) or (spec.leave and leave.fullmatch(path)):
            return False
        if spec.set == CODE:
            return spec.format == CODE or code_language(path) is not None
        return not spec.languages or language(spec, package, path) in spec.languages

    return is_wanted


def language(spec: SourceSpec, package: str, path: str) -> str:
    """The recipe's, else what the path, else what the package's name says, else English."""
    if spec.set == CODE:
        return spec.language or code_language(path) or ""
    return spec.language or language_of_path(path) or language_of_package(package) or "en"


def package_documents(
    spec: SourceSpec, package: Package, members: Iterable[Member]
) -> Iterator[Document | Rejected]:
    """The documents of a package's files.

    With `max_mb_per_package` files, and the texts of a file that is several, are taken in the order of
    their ids' digests, a sample that has nothing to do with names, until they fill it; the rest is
    rejected, unread.
    """
    if spec.max_mb_per_package is None:
        for member in members:
            yield from _member_documents(spec, package, member)
        return
    room = spec.max_mb_per_package * 1e6
    for member in sorted(members, key=lambda member: _digest(member.path)):
        if room <= 0 and not member.fault:
            tongue = language(spec, package.name, member.path)
            yield Rejected(spec.name, f"{package.label}:{member.path}", tongue, "over_package_cap", "")
            continue
        for item in sorted(_member_documents(spec, package, member), key=lambda item: _digest(item.id)):
            if room <= 0 and isinstance(item, Document):
                yield Rejected(item.source, item.id, item.language, "over_package_cap", "")
                continue
            if isinstance(item, Document):
                room -= len(item.text.encode("utf-8", "replace"))
            yield item


def _member_documents(spec: SourceSpec, package: Package, member: Member) -> Iterator[Document | Rejected]:
    name = f"{package.label}:{member.path}"
    tongue = language(spec, package.name, member.path)
    fault = member.fault or _licence_fault(package.licence)
    if fault:
        yield Rejected(spec.name, name, tongue, fault, "")
    else:
        yield from file_documents(spec, name, member, package.licence, tongue)


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


def file_documents(
    spec: SourceSpec, name: str, member: Member, licence: str, tongue: str
) -> Iterator[Document | Rejected]:
    """The documents of one file, or why it has none."""
    try:
        data, path = unpacked(member.data, member.path)
        format = spec.format or (CODE if spec.set == CODE else "")
        texts = extract(path, data, format)
    except (BadDocument, ValueError) as error:
        yield Rejected(spec.name, name, tongue, "cannot_be_read", str(error))
        return
    if not texts:
        yield Rejected(spec.name, name, tongue, "no_text", "")
    for part, text in texts:
        yield Document(text, spec.name, name + part, licence, tongue)


def _licence_fault(licence: str) -> str:
    if not licence:
        return "no_licence_stated"
    return "" if is_open(licence) else "licence_not_open"


@cache
def _any_of(globs: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern of all globs; "*" also stands for "/"."""
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))
