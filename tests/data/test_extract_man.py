import re
import shutil
import subprocess
import time

import pytest

from xgen.data.extract import extract
from xgen.data.extract.man import extract_man
from xgen.errors import BadDocument

PAGE = r""".\" a comment that nobody sees
.ds Pr Pellet
.TH PELLET 1 "2025\-01\-01" "kitchen 1.0" "Kitchen tools"
.SH NAME
pellet \- roll dough into small balls
.SH SYNOPSIS
.B pellet
.RI [ options ] " dough" ...
.SH DESCRIPTION
\fBpellet\fR takes dough and rolls it.
It was written for
.I bakers
and for
.BR cook (1)
users, \*(lqwho care\*(rq.
.PP
A second paragraph, with na\[:i]ve words, an em\(emdash and a \(bu bullet; \*[Pr] is its name.
.SS Options
.TP
.BR \-s ", " \-\-size =\fIN\fR
Size of a ball in millimetres.
The default is 12.
.TP
.B \-q
Say nothing.
.IP 1. 4
The first step.
.IP \(bu 2
A point.
.SH EXAMPLE
.nf
pellet \-s 8 dough
    # and then
.fi
.de XX
This is never shown.
..
.SH "SEE ALSO"
.UR https://example.org/pellet
the page of pellet
.UE
.TS
tab(|);
l l.
Flag|Meaning
_
\-q|T{
say
nothing
T}
.TE
"""


def test_a_page_as_a_reader_sees_it() -> None:
    assert extract_man(PAGE.encode()) == (
        "NAME\n\npellet - roll dough into small balls\n\nSYNOPSIS\n\npellet [options] dough...\n\n"
        "DESCRIPTION\n\npellet takes dough and rolls it. It was written for bakers and for cook(1) users, "
        "“who care”.\n\nA second paragraph, with naïve words, an em—dash and a • bullet; "
        "Pellet is its name.\n\n"
        "Options\n\n-s, --size=N\nSize of a ball in millimetres. The default is 12.\n\n-q\nSay nothing.\n\n"
        "1. The first step.\n\n• A point.\n\nEXAMPLE\n\npellet -s 8 dough\n    # and then\n\n"
        "SEE ALSO\n\nthe page of pellet ⟨https://example.org/pellet⟩\n\nFlag | Meaning\n-q | say nothing"
    )


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_against_groff_the_same_words_in_the_same_order() -> None:
    page = PAGE.replace("https://example.org/pellet", "x:y")
    page = page.replace(".SH NAME", ".nh\n.ad l\n.SH NAME", 1)
    shown = subprocess.run(
        ["groff", "-t", "-man", "-Tutf8", "-P-cbou", "-rLL=400n"],
        input=page.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    lines = [line for line in shown.splitlines() if "PELLET(1)" not in line and "kitchen 1.0" not in line]
    words = re.findall(r"\w+", " ".join(lines))
    assert re.findall(r"\w+", extract_man(page.encode())) == words


def test_a_page_that_only_points_elsewhere_has_no_text() -> None:
    assert extract_man(b".so man1/other.1\n") == ""
    assert extract("usr/share/man/man1/x.1", b".so man1/other.1\n") == []


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b".Dd May 1, 2024\n.Dt X 1\n.Sh NAME\n", "mdoc"),
        (b"no page at all\n", "no title line"),
    ],
)
def test_other_pages_are_refused(page: bytes, why: str) -> None:
    with pytest.raises(BadDocument, match=why):
        extract_man(page)


@pytest.mark.parametrize(
    "page",
    [
        b".TH X 1\n.TS\n",
        b".TH X 1\n.TS\nl.\nT{\nopen",
        b".TH X 1\n.if n \\{\\\n",
        b".TH X 1\n.de Y\n",
        b".TH X 1\n.ds a \\*a\nword \\*a\n",
        b'.TH X 1\n.B "open\n\\',
        b".ds a " + b"\\*a" * 99 + b"\n.TH X 1\n" + b"\\*a" * 9999,
        b".TH X 1\n\\N'99999999'\\[u110000]\\[char999]\\f",
    ],
)
def test_broken_pages_end(page: bytes) -> None:
    extract_man(page)


@pytest.mark.parametrize("piece", ["\\[", "\\h'", "\\*[", "\\s'", '"', "\\", "\\N'1", ".B \n", "\\f["])
def test_hostile_pages_take_no_longer_than_their_length(piece: str) -> None:
    seconds = []
    for n in (5_000, 20_000):
        start = time.perf_counter()
        extract_man(b".TH X 1\n" + f"{piece}x".encode() * n)
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 12 * seconds[0] + 1


def test_strings_of_pod2man_are_known() -> None:
    page = b'.TH X 1\n.ie n .ds C` ""\nCall \\f(CW\\*(C`$x\\*(C\'\\fR, 2 \\*(-- 3.\n'
    assert extract_man(page) == "Call '$x', 2 – 3."
