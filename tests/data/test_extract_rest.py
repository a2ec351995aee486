"""reStructuredText and Markdown as they are read; the law is that words stay, each once and in order."""

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.data.extract.markdown import extract_markdown
from xgen.data.extract.rest import extract_rest
from xgen.errors import BadDocument

PAGE = """\
.. SPDX-License-Identifier: GPL-2.0
.. _start:

============
The handbook
============

:Author: Eva

.. contents::
   :depth: 2

First steps
-----------

This is a paragraph that is wrapped
over *two* lines, with ``a *literal*`` and
`a link <https://example.org/>`_, see :ref:`the end <end>` and :doc:`other`.
|name| is put in [1]_.

.. |name| replace:: Gartenbuch

- one item
  that goes on
- another

#. number
#. again

Term
    What it means,
    in two lines.

.. note::

   Mind the *gap*.

.. code-block:: c
   :caption: x.c

   int *a_;

       return 0;

A listing follows::

    $ ls  -l
      total 0

+-------+-------+
| Ware  | Preis |
+=======+=======+
| Hacke | 5     |
| neu   |       |
+-------+-------+

=====  ======
A      B
=====  ======
red    1
       more
blue   2
=====  ======

.. list-table:: Colours
   :header-rows: 1

   * - Name
     - Code
   * - red
     - 1

.. figure:: x.png

   The caption.

.. toctree::

   a
   b

.. [1] A remark.
"""


def test_a_page_is_read_block_by_block() -> None:
    assert extract_rest(PAGE.encode()).split("\n\n") == [
        "The handbook",
        ":Author: Eva",
        "First steps",
        "This is a paragraph that is wrapped over two lines, with a *literal* and a link, see the end and"
        " other. Gartenbuch is put in [1].",
        "- one item that goes on\n- another",
        "#. number\n#. again",
        "Term\n    What it means, in two lines.",
        "Note:",
        "Mind the gap.",
        "   int *a_;",
        "       return 0;",
        "A listing follows:",
        "    $ ls  -l\n      total 0",
        "Ware | Preis\nHacke neu | 5",
        "A | B\nred | 1 more\nblue | 2",
        "Colours\nName | Code\nred | 1",
        "The caption.",
        "[1] A remark.",
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a :c:func:`kmalloc` b", "a kmalloc b"),
        ("a :py:meth:`~list.sort` b", "a list.sort b"),
        ("``:ref:`x```", ":ref:`x`"),
        ("**bold** and *it*", "bold and it"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("see intro_ and x_y and zz__.", "see intro and x_y and zz."),
        ("H\\ :sub:`2`\\ O", "H2O"),
        ("a \\*star\\*", "a *star*"),
        ("中文\n文字", "中文文字"),
        ("中文\nword", "中文 word"),
        ("Title\n=====\nText", "Title\n\nText"),
        ("a\n\n----\n\nb", "a\n\nb"),
        ("a\n\n..\n   hidden\n\nb", "a\n\nb"),
        ("a\n\n.. only:: html\n\n   *shown*\n\nb", "a\n\nshown\n\nb"),
        ("::\n\n  *kept*", "  *kept*"),
    ],
)
def test_a_line_of_rest(written: str, read: str) -> None:
    assert extract_rest(written.encode()) == read


@st.composite
def pages(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A page of blocks in any order, and its words in order; words occur once."""
    words: list[str] = []

    def word() -> str:
        words.append(f"w{len(words)}")
        return words[-1]

    def marked() -> str:
        link = "`{} <https://example.org/>`_"
        form = draw(st.sampled_from(["{}", "*{}*", "**{}**", "``{}``", link, ":ref:`{}`"]))
        return form.format(word())

    def line() -> str:
        return " ".join(marked() for _ in range(draw(st.integers(1, 4))))

    def block(kind: str) -> str:
        if kind == "title":
            title = word()
            return f"{title}\n{draw(st.sampled_from('=-~^')) * len(title) * 2}"
        if kind == "paragraph":
            return "\n".join(line() for _ in range(draw(st.integers(1, 3))))
        if kind == "list":
            return "\n".join(f"- {line()}\n  {line()}" for _ in range(draw(st.integers(1, 3))))
        if kind == "literal":
            return f"{word()}::\n\n    {word()}\n\n      {word()}"
        if kind == "directive":
            return (
                f".. {draw(st.sampled_from(['note', 'tip', 'code', 'topic']))}::\n\n   {word()}\n   {word()}"
            )
        if kind == "grid":
            rows = "".join(f"| {word():6} | {word():6} |\n+--------+--------+\n" for _ in range(2))
            return f"+--------+--------+\n{rows}".rstrip()
        if kind == "simple":
            rows = "".join(f"{word():7} {word()}\n" for _ in range(2))
            return f"======= =======\n{rows}======= ======="
        return ".. comment hidden\n   hidden hidden"

    kinds = ["title", "paragraph", "list", "literal", "directive", "grid", "simple", "comment"]
    blocks = [block(draw(st.sampled_from(kinds))) for _ in range(draw(st.integers(1, 8)))]
    return "\n\n".join(blocks), words


@given(pages())
def test_words_stay_once_and_in_order(page: tuple[str, list[str]]) -> None:
    text, words = page
    try:
        read = extract_rest(text.encode())
    except BadDocument:
        read = ""
    assert re.findall(r"w\d+", read) == words
    assert "hidden" not in read


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b".. image:: x.png\n", b"\n\n"])
def test_what_has_no_text_is_told_in_a_sentence(data: bytes) -> None:
    with pytest.raises(BadDocument):
        extract_rest(data)


LESSON = """\
---
title: no
---
<!-- a comment -->
# Lesson **one**

Read [the docs](https://example.org/a_(b)) or [more][1], ![a picture](x.png).

[![badge](https://example.org/b.svg)](https://example.org/)

| a | b |
|---|---|
| 1 | 2 |

- use `[x](y)` and <b>bold</b><br/>

```python
# [not](a link) <b>
x = a[1](2)
```

[1]: https://example.org/more "More"

---

<!-- SOME TOOL START -->
**Notice**: hidden hidden.
<!-- SOME TOOL END -->

**Disclaimer**:
This was translated by [Co-op Translator](https://github.com/Azure/co-op-translator). Be careful.
"""


def test_markdown_keeps_what_people_read() -> None:
    assert extract_markdown(LESSON.encode()) == (
        "# Lesson **one**\n\nRead the docs or more, .\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "- use `[x](y)` and bold\n\n```python\n# [not](a link) <b>\nx = a[1](2)\n```\n\n---"
    )


@pytest.mark.parametrize(
    "hostile", ["[" * 50_000, "![" * 30_000, "<a " * 30_000, "`" * 50_000, "[a](" * 20_000]
)
def test_hostile_markdown_takes_no_longer_than_other(hostile: str) -> None:
    started = time.perf_counter()
    for extract in (extract_markdown, extract_rest):
        with suppress(BadDocument):
            extract(hostile.encode())
    assert time.perf_counter() - started < 5
