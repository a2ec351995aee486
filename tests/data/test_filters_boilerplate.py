from pathlib import Path

from xgen.data.filters.boilerplate import repeated_lines, without_lines
from xgen.data.filters.licence_texts import header_end, is_licence, licence_paragraphs
from xgen.data.filters.paragraphs import paragraphs_of

LICENCE = Path(__file__).parent.parent.parent / "LICENSE"


def page(i: int) -> str:
    return (
        f"Handbook of the Machine\n\nNAME\n\nBack to the first page\n\nChapter {i} tells of part {i}."
        f"\n\nThe valve number {i} is turned by hand.\n\nBack to the first page\n\nBD"
    )


def test_lines_of_every_page_go_and_headings_stay() -> None:
    pages = [page(i) for i in range(20)]
    lines = repeated_lines(pages)
    assert lines == {"Handbook of the Machine", "Back to the first page"}
    assert without_lines(pages[3], lines).lstrip() == (
        "NAME\n\n\nChapter 3 tells of part 3.\n\nThe valve number 3 is turned by hand.\n\n\nBD"
    )


def test_few_pages_say_nothing_about_lines() -> None:
    assert repeated_lines([page(i) for i in range(5)]) == frozenset()


def test_the_name_of_the_program_goes_only_where_it_is_on_most_pages() -> None:
    head = [f"Machine Help\n\nsection {i}" for i in range(20)]
    assert repeated_lines(head) == {"Machine Help"}
    some = [f"{'Machine Help' if i % 2 else 'Other'}\n\nsection {i}" for i in range(40)]
    assert repeated_lines(some) == frozenset()


def test_rows_of_links_go() -> None:
    text = "[ << Back ] | [Top][Contents] | [ On >> ]\n[one link] stays\na [b] c"
    assert without_lines(text, frozenset()) == "[one link] stays\na [b] c"


def test_a_licence_is_a_licence() -> None:
    pieces = paragraphs_of(LICENCE.read_text(encoding="utf-8"))
    assert is_licence(pieces, licence_paragraphs(pieces))


def test_a_licence_within_a_manual_goes_and_the_manual_stays() -> None:
    manual = [
        f"Section {i}. The pump is filled from above, and the lid is closed after that.\n\n"
        for i in range(60)
    ]
    licence = paragraphs_of(LICENCE.read_text(encoding="utf-8") + "\n\n")
    pieces = [*manual[:30], *licence, *manual[30:]]
    verdicts = licence_paragraphs(pieces)
    assert not is_licence(pieces, verdicts)
    n_gone = sum(len(piece) for piece, gone in zip(pieces, verdicts, strict=True) if gone)
    assert n_gone > 0.75 * sum(map(len, licence))
    assert not any(verdicts[:28])
    assert not any(verdicts[-28:])


def test_a_manual_may_speak_of_licences() -> None:
    said = [
        "Debian checks the licence of each package before it comes into the archive.\n\n",
        "A package under the General Public License comes with its source, free of charge.\n\n",
        "Whoever redistributes it keeps the copyright file, which names the contributors.\n\n",
    ]
    pieces = [
        *said,
        *(f"Paragraph {i} is about installing from a disk, step by step.\n\n" * 3 for i in range(9)),
    ]
    assert not any(licence_paragraphs(pieces))


def test_the_head_of_a_program_that_states_its_licence_is_found() -> None:
    head = "# Copyright (c) 2020 Somebody.\n# Licensed as the LICENSE file says.\n"
    code = "import os\n\n# Copyright is a word here\nprint(os.name)\n"
    assert header_end(head + "\n" + code)[1] >= len(head)
    assert header_end(code) == (0, 0)
    block = "/*\n * Copyright Somebody\n * SPDX-License-Identifier: MIT\n */"
    assert header_end(block + "\nint main() { return 0; }\n") == (0, len(block))
    assert header_end('"""Counts licences, and copyrights too."""\nx = 1\n')[1] > 0
    assert header_end('"""Counts words."""\nx = 1\n') == (0, 0)
