"""Descriptions of Debian's packages in many languages: apt's own Translation lists, natural and short."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources.clients import run
from xgen.data.sources.debian import apt_get
from xgen.errors import BadRecipe, XgenError

_LIST = re.compile(r"(.+)_i18n_Translation-([a-z]{2})(?:_([A-Z]{2}))?")
_FIELD = re.compile(r"Description-[a-zA-Z_]+: ?(.*(?:\n[ \t].*)*)")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# How apt names the variants of a language that has no list without one.
_VARIANTS = {"pt": ("pt", "pt_BR"), "zh": ("zh", "zh_CN", "zh_TW")}


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """Have apt-get bring the lists of the spec's languages into a folder of their own.

    There is no older list to ask for: what is brought is of the day.
    """
    if not spec.languages:
        raise BadRecipe(spec.name, "it names no languages", "say which in `languages`")
    folder = _folder(spec, downloads)
    if folder.is_dir() and _lists(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for code in spec.languages for name in _VARIANTS.get(code, (code,))]
    run([*apt_get(folder), "-o", f"Acquire::Languages={','.join(names)}", "update"], folder, spec.name)
    if not _lists(folder):
        raise XgenError(
            spec.name, "the machine's apt sources have no descriptions in these languages", "leave it out"
        )


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """A description a document, paragraphs on one line each, by language and by package's name.

    The lists state no licence of their own, so the recipe must.
    """
    for path, archive, language in _lists(_folder(spec, downloads)):
        if language not in spec.languages:
            continue
        for entry in path.read_text("utf-8", "replace").split("\n\n"):
            name = re.search(r"^Package: (\S+)", entry, re.MULTILINE)
            text = _FIELD.search(entry)
            if not entry.strip():
                continue
            label = f"{archive}:{path.name.rpartition('-')[2]}:{name[1] if name else '?'}"
            if name is None or text is None:
                yield Rejected(spec.name, label, language, "no_text", entry[:1_000])
            elif not spec.licence:
                yield Rejected(spec.name, label, language, "no_licence_stated", text[1][:1_000])
            else:
                yield Document(_flowing(text[1]), spec.name, label, spec.licence, language)


def _folder(spec: SourceSpec, downloads: Path) -> Path:
    """The lists' folder: another one for other languages."""
    digest = hashlib.sha256(",".join(sorted(spec.languages)).encode()).hexdigest()[:12]
    return downloads / "descriptions" / digest


def _lists(folder: Path) -> list[tuple[Path, str, str]]:
    """(file, archive, language) of the lists that are there; archive is suite and component."""
    found = []
    for path in sorted((folder / "lists").glob("*_i18n_Translation-*")):
        parts = _LIST.fullmatch(path.name)
        if parts:
            found.append((path, "_".join(parts[1].split("_dists_")[-1].split("_")), parts[2]))
    return found


def _flowing(field: str) -> str:
    """Debian policy 5.6.13: lines after one blank flow, " ." is an empty one, more blanks keep a line."""
    title, *lines = field.split("\n")
    out = [title.strip(), ""]
    for line in lines:
        words = line.strip()
        if words in ("", "."):
            out.append("")
        elif line.startswith(("  ", " \t", " *", " -")) or not out[-1] or out[-1].startswith(("*", "-")):
            out.append(words)
        else:
            glue = "" if _WIDE.match(words) and _WIDE.match(out[-1][-1]) else " "
            out[-1] += glue + words
    return "\n".join(out).strip()
