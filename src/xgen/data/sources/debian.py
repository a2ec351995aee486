"""Debian packages: manuals in many languages, message catalogues, code. Brought by apt-get, read as archives.

The lists of packages are our own, so that neither root nor an up-to-date system is needed; what they offer
is what the machine's apt sources name.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.licences import debian_licence
from xgen.data.recipe import SourceSpec
from xgen.data.sources.archives import members
from xgen.data.sources.clients import bring, client, run
from xgen.data.sources.packages import Package, name_and_version, newest, package_documents, wanted


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """Bring the packages that are not there yet with `apt-get download`, which installs nothing.

    NotBrought names the versions that the machine's apt sources no longer have.
    """
    folder = downloads / "debian"
    missing = [entry for entry in spec.packages if not _archives(entry, folder)]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    apt = apt_get(folder / "apt")
    run([*apt, "-o", "Acquire::Languages=none", "update"], folder, "the lists of packages")

    def command(entries: Sequence[str]) -> list[str]:
        return [*apt, "download", *("=".join(filter(None, name_and_version(entry))) for entry in entries)]

    bring(folder, missing, command, spec.name, quiet)


def apt_get(state: Path) -> list[str]:
    """The command that runs apt-get with lists and cache of its own under `state`."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = [
        *(f"Dir::State::Lists={state / 'lists'}", f"Dir::Cache={state / 'cache'}"),
        *("Acquire::GzipIndexes=false", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"),
        *("Debug::NoLocking=true", "APT::Update::Post-Invoke-Success::=/bin/true", "quiet=1"),
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")  # else it may not write below a home folder
    return [*client("apt-get"), *(word for option in options for word in ("-o", option))]


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """The wanted files of each package, in the order of their archive.

    The licence is what the package's own copyright file states, else the recipe's.
    """
    for entry in spec.packages:
        archive = newest(_archives(entry, downloads / "debian"), entry)
        name, version, _ = archive.stem.split("_")
        label = f"{name}=={version.replace('%3a', ':')}"
        package = Package(name, label, archive, _licence(archive) or spec.licence)
        yield from package_documents(spec, package, members(archive, wanted(spec, name)))


def _archives(entry: str, folder: Path) -> list[Path]:
    name, version = name_and_version(entry)
    version = version.replace(":", "%3a")  # as apt writes it in a file's name
    return sorted(folder.glob(f"{name}_{version or '*'}_*.deb"))


def _licence(archive: Path) -> str:
    for member in members(archive, _is_copyright):
        if not member.fault:
            return debian_licence(member.data.decode("utf-8", "replace"))
    return ""


def _is_copyright(path: str) -> bool:
    return path.startswith("usr/share/doc/") and path.endswith("/copyright")
