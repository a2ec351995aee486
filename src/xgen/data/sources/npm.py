"""npm packages: .tgz files with all under package/. Brought by `npm pack`, whose scripts stay off."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.licences import npm_licence
from xgen.data.recipe import SourceSpec
from xgen.data.sources.archives import Member, members
from xgen.data.sources.clients import bring, client
from xgen.data.sources.packages import Package, name_and_version, newest, package_documents, wanted

_ROOT = re.compile(r"[^/]+/")  # "package/", or another word in old packages


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """Bring the packages that are not there yet with `npm pack --ignore-scripts`."""
    folder = downloads / "npm"
    missing = [entry for entry in spec.packages if not _archives(entry, folder)]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    pack = [*client("npm"), "pack", "--loglevel=error", "--ignore-scripts"]

    def command(entries: Sequence[str]) -> list[str]:
        return [*pack, *("@".join(filter(None, name_and_version(entry))) for entry in entries)]

    bring(folder, missing, command, spec.name, quiet)


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """The wanted files of each package, in its own order, their paths without "package/".

    The licence is package.json's, else a licence file's, else the recipe's.
    """
    for entry in spec.packages:
        name, _ = name_and_version(entry)
        archive = newest(_archives(entry, downloads / "npm"), entry)
        version = archive.stem.removeprefix(f"{_file_name(name)}-")
        package = Package(name, f"{name}=={version}", archive, _licence(archive) or spec.licence)
        is_wanted = wanted(spec, name)
        found = members(archive, lambda path, asked=is_wanted: asked(_inner(path)))  # type: ignore[misc]
        inner = (Member(_inner(member.path), member.data, member.fault) for member in found)
        yield from package_documents(spec, package, inner)


def _archives(entry: str, folder: Path) -> list[Path]:
    name, version = name_and_version(entry)
    found = sorted(folder.glob(f"{_file_name(name)}-{version or '[0-9]*'}.tgz"))
    return [path for path in found if path.stem.removeprefix(f"{_file_name(name)}-")[:1].isdigit()]


def _file_name(name: str) -> str:
    """What `npm pack` makes of a package's name: @a/b -> a-b."""
    return name.removeprefix("@").replace("/", "-")


def _inner(path: str) -> str:
    return _ROOT.sub("", path, count=1)


def _licence(archive: Path) -> str:
    package_json, texts = "", []
    for member in members(archive, lambda path: path.count("/") == 1):
        text = member.data.decode("utf-8", "replace")
        if _inner(member.path) == "package.json":
            package_json = text
        elif re.match(r"(?i)licen[cs]e|copying", _inner(member.path)):
            texts.append(text)
    return npm_licence(package_json, texts)
