"""Twenty questions on five documents that nobody here wrote, as the answers come out: a page in Markdown.

    python bench/examples.py --packages FOLDER > docs/examples.md

The documents are files of Debian packages, which are brought by `apt-get download` unless FOLDER has them.
The questions and what the documents say were written before any answer was seen; four have no answer
there. An answer counts as right if it holds the words that it must.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from machine import commit, machine, now

import xgen
from xgen.read.answer import HOW_WORDS
from xgen.read.words import holds

if TYPE_CHECKING:
    from xgen.read.answer import Answer, Reading

ROOT = Path(__file__).parents[1]
LONGEST_QUOTE = 240
Asked = tuple[str, str | None]
"""A question, and the words that a right answer holds; None if the document does not answer it."""


@dataclass(frozen=True)
class Source:
    """A file of a Debian package, its licence, and what is asked of it."""

    title: str
    package: str
    path: str
    licence: str
    asked: tuple[Asked, ...]


SOURCES = (
    Source(
        "The Debian Administrator's Handbook, 13.3 (HTML)",
        "debian-handbook",
        "usr/share/doc/debian-handbook/html/en-US/sect.graphical-desktops.html",
        "GPL-2.0-or-later or CC-BY-SA-3.0, Raphaël Hertzog and Roland Mas",
        (
            ("Which toolkit did the first graphical desktop project choose?", "Qt"),
            ("In what language are KDE applications mainly written?", "C++"),
            ("Which desktop forked GNOME Shell?", "Cinnamon"),
            ("How much memory does Xfce need?", None),
        ),
    ),
    Source(
        "Essay on automated music engraving, 1.1 (HTML)",
        "lilypond-doc-html",
        "usr/share/doc/lilypond/html/Documentation/essay/the-lilypond-story.html",
        "GFDL-1.3-or-later, the LilyPond developers",
        (
            ("From which piece are the two scores taken?", "first Suite"),
            ("In what year was the hand-engraved score published?", "1950"),
            ("Who is the publisher of the computer-engraved edition?", "Henle"),
            ("Why is the computer-generated score harder to read?", "identical"),
        ),
    ),
    Source(
        "Constitution for the Debian Project 1.9 (plain text)",
        "doc-debian",
        "usr/share/doc/debian/constitution.txt.gz",
        "Open Publication License 1.0, Software in the Public Interest",
        (
            ("How large a majority is needed to amend this constitution?", "3:1"),
            ("How long is the term of the Project Secretary?", "1 year"),
            ("What is the quorum of the Technical Committee?", "two"),
            ("How much is the Project Leader paid?", None),
        ),
    ),
    Source(
        "Debian Edu / Skolelinux manual (PDF)",
        "debian-edu-doc-en",
        "usr/share/doc/debian-edu-doc-en/debian-edu-bookworm-manual.pdf",
        "GPL-2.0-or-later, Holger Levsen and others",
        (
            ("When was the Skolelinux project founded?", "July 2nd 2001"),
            ("Who started Debian-Edu in France?", "Raphaël Hertzog"),
            ("How much disk space does an LTSP server need at least?", "40 GiB"),
            ("How many schools use Debian Edu?", None),
        ),
    ),
    Source(
        "The Constitution of the United States (plain text)",
        "miscfiles",
        "usr/share/state/us-constitution.gz",
        "public domain",
        (
            ("How old must a Senator be at least?", "thirty"),
            ("Who is President of the Senate?", "Vice President"),
            ("For how long do judges hold their offices?", "good Behaviour"),
            ("What is the salary of the President?", None),
        ),
    ),
)


def unpacked(source: Source, packages: Path, folder: Path) -> Path:
    """The file of a source, from its package; an end of .gz is taken off, and one of plain text put on."""
    found = sorted(packages.glob(f"{source.package}_*.deb"))
    if not found:
        subprocess.run(
            ["apt-get", "download", source.package], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        found = sorted(folder.glob(f"{source.package}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(found[-1]), str(folder / source.package)], check=True)
    path = folder / source.package / source.path
    if path.suffix != ".gz":
        return path
    plain = path.with_suffix(".txt" if "." not in path.stem else "")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def is_right(asked: Asked, answer: "Answer") -> bool:
    """Whether the answer holds the words that it must, or is none where there is none."""
    _, gold = asked
    if gold is None or answer.answer is None:
        return gold is None and answer.answer is None
    if gold == "C++":  # no word by itself
        return gold in answer.answer
    return holds(answer.answer, gold)


def page(source: Source, reading: "Reading") -> list[str]:
    """A document's part of the page."""
    n_tokens = sum(document.tokens_total for document in reading.documents)
    lines = [
        f"## {source.title}",
        "",
        f"`{source.path}` of `{source.package}`; {source.licence}. {n_tokens:,} tokens,",
        f"{HOW_WORDS[reading.how]}.",
        "",
    ]
    for asked, answer in zip(source.asked, reading.answers, strict=True):
        said = answer.answer if answer.answer is not None else "not in this document"
        verdict = (
            "right" if is_right(asked, answer) else f"**wrong**: {asked[1] or 'the document does not say'}"
        )
        share = f", {answer.right_share:.0%} of such answers are right" if answer.right_share else ""
        lines.append(f"- {asked[0]} **{' '.join(said.split())}** ({verdict}{share})")
        if answer.citations:
            cited = answer.citations[0]
            quote = " ".join(cited.quote.split())
            quote = (
                quote if len(quote) <= LONGEST_QUOTE else quote[:LONGEST_QUOTE].rsplit(maxsplit=1)[0] + " ..."
            )
            lines.append(f"  > {quote}")
    return [*lines, ""]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="reader", metavar="NAME_OR_FOLDER")
    parser.add_argument("--adapter", metavar="FOLDER")
    parser.add_argument("--packages", type=Path, default=Path(), metavar="FOLDER")
    options = parser.parse_args(arguments)
    reader = xgen.load(options.model, adapter=options.adapter)
    parts, n_right, n_asked = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            document = xgen.open(unpacked(source, options.packages.resolve(), Path(folder)), keep=False)
            reading = reader.read(
                [document], [question for question, _ in source.asked], quiet=True, keep=False
            )
            parts += page(source, reading)
            n_right += sum(is_right(a, given) for a, given in zip(source.asked, reading.answers, strict=True))
            n_asked += len(source.asked)
    about = machine(reader.bundle.device)
    made = f"{now()}, commit {commit(ROOT)}, {about.get('gpu', about.get('cpu'))}"
    print(
        "# Twenty questions on five documents\n\n"
        f"Asked of `{options.model}` as `xgen read FILE --ask ...` asks, by `python bench/examples.py`;\n"
        f"{made}.\n"
        "The questions and what the documents say were written before the first run. What follows is what\n"
        f"came. **{n_right} of {n_asked} are right.** Behind each answer stands the sentence that it cites.\n"
    )
    print("\n".join(parts).strip())


if __name__ == "__main__":
    main(sys.argv[1:])
