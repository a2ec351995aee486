import re
from pathlib import Path

import lxml.html
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xgen.errors import BadDocument
from xgen.text.extract import open_document
from xgen.text.extract.html import extract


def text_of(html: str) -> str:
    return extract(html.encode(), "page.html").text


def test_a_page() -> None:
    document = extract(
        b"""<!DOCTYPE html><html><head><meta charset=utf-8><title>A page</title><style>p{}</style></head>
        <body><nav><a href=x>Home</a></nav><h1>Title <em>here</em></h1>
        <p>One&nbsp;two &lt;b&gt; &eacute; sen<!-- x -->ten\xc2\xadce.<br>Second line.</p>
        loose <b>bo</b>ld <div>in <span>a div</span></div>tail
        <ul><li>first<li><p>second</p><ol><li>deep<li>deeper</ol></ul><ol><li>uno</li><li>due</li></ol>
        <p hidden>secret</p><script>alert(1)</script><img src=a>
        <pre>def f():\n    return 1</pre>after</body>""",
        "page.html",
    )
    assert document.text == (
        "A page\n\nTitle here\n\nOne two <b> é sentence.\nSecond line.\n\nloose bold\nin a div\ntail\n\n"
        "- first\n- second\n  1. deep\n  2. deeper\n\n1. uno\n2. due\n\ndef f():\n    return 1\n\nafter"
    )
    assert document.dropped == (
        "<nav> elements left out: 1",
        "hidden elements left out: 1",
        "<img> elements left out: 1",
    )
    assert document.place(document.text.index("Second")).line == 6


def test_a_table_of_licences_row_by_row() -> None:
    table = """<table><caption>Models</caption><thead><tr><th>Model<th>Licence<th>Commercial</tr></thead>
      <tr><td>xgen-7b-8k-base</td><td><a href=x>Apache-2.0</a></td><td>yes</td></tr>
      <tr><td>xgen-7b-8k-inst</td><td>research<br>only</td><td>no</td></tr></table>"""
    assert text_of(table).splitlines() == [
        "Models",
        "Model | Licence | Commercial",
        "xgen-7b-8k-base | Apache-2.0 | yes",
        "xgen-7b-8k-inst | research only | no",
    ]


def test_a_cell_over_several_rows_is_said_in_each() -> None:
    table = (
        "<table><tr><td rowspan=2>xgen<td>base<td>yes<tr><td>inst<td>no"
        "<tr><td colspan=2>both<td rowspan=99>?</table>"
    )
    assert text_of(table).splitlines() == ["xgen | base | yes", "xgen | inst | no", "both | | ?"]


def test_tables_that_arrange_a_page_are_read_cell_by_cell() -> None:
    nested = "<table><tr><td>menu<td><table><tr><td>a<td>b<tr><td>c<td>d</table></table>"
    assert text_of(nested).split("\n\n") == ["menu", "a | b\nc | d"]
    long = f"<table><tr><td>left<td>{'word ' * 300}<p>next</table>"
    assert text_of(long).splitlines()[0] == "left"
    assert text_of("start<table><td>a<td>b</table>").split() == ["start", "a", "b"]
    broken = "<table><p>lost?</p><tr><td>cell</table>"
    assert set(text_of(broken).split()) == {"lost?", "cell"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1251", "koi8-r"])
def test_encodings_declared_or_not(encoding: str) -> None:
    words = "Привет, как дела? Это русский текст."
    declared = f'<html><head><meta http-equiv="x" content="text/html; charset={encoding}"></head><p>{words}'
    assert extract(declared.encode(encoding), "page.html").text == words
    assert extract(f"<p>{words}".encode(encoding), "page.html").text == words


def test_a_wrong_declaration_does_not_harm() -> None:
    assert extract("<meta charset=ascii><p>Grüße".encode("cp1252"), "p.html").text == "Grüße"
    assert extract("<meta charset=no-such><p>Grüße".encode(), "p.html").text == "Grüße"


@pytest.mark.parametrize(
    "html",
    ["<html></html>", "<script>draw()</script>", "<div>" * 5000 + "deep", "<!DOCTYPE html>", "\0\1\2"],
)
def test_pages_without_text_are_refused(html: str) -> None:
    with pytest.raises(BadDocument):
        text_of(html)


def test_entities_of_a_document_type_are_not_expanded() -> None:
    bomb = '<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><html><p>words &b;</p></html>'
    assert "aaaa" * 5 not in text_of(bomb)


def test_the_suffix_or_the_beginning_makes_it_html(tmp_path: Path) -> None:
    for name in ("page.htm", "page", "page.php"):
        (tmp_path / name).write_text("\n<!DOCTYPE HTML><p>words")
        assert open_document(tmp_path / name).text == "words"
    (tmp_path / "about-html.md").write_text("<html> is the root")
    assert open_document(tmp_path / "about-html.md").text == "<html> is the root"


_inline = st.sampled_from(["b", "i", "a", "span", "code"])
_block = st.sampled_from(
    ["p", "div", "h1", "ul", "ol", "li", "table", "tr", "td", "blockquote", "pre", "section"]
)
_tree = st.recursive(
    st.sampled_from(["word", "two words ", " é &amp; ü", "x", "<br>", "  "]),
    lambda inner: st.tuples(st.one_of(_inline, _block), st.lists(inner, max_size=4)).map(
        lambda t: f"<{t[0]}>{''.join(t[1])}</{t[0]}>"
    ),
    max_leaves=30,
)


@given(st.lists(_tree, max_size=5).map("".join))
@example("<table><td>word</td></table>")
def test_against_lxml_text_content(html: str) -> None:
    """No character is lost, added or moved, whatever the nesting; marks of lists and cells aside."""
    page = f"<html><body>start{html}</body></html>"
    expected = lxml.html.fromstring(page).text_content()
    ours = re.sub(r"^ *(- |\d+\. )+", "", text_of(page), flags=re.MULTILINE).replace("|", "")
    assert "".join(ours.split()) == "".join(expected.split())
