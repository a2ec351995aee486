"""Strangers' XML, read so that it can neither grow nor reach out: no entity expanded, no file, no network."""

from typing import Any

from xgen.errors import BadDocument

MAX_BYTES = 64 << 20  # the longest novel measured is 5 MB of TEI


def parse(data: bytes, name: str, recover: bool = False) -> Any:
    """The root element of an XML file; raises BadDocument where there is none.

    Entities are never expanded (they stay as Entity nodes), so a bomb of nested ones costs nothing and
    an external one is not opened; libxml2's own limits on depth and lengths stay on. With `recover`,
    what is not well-formed is mended as far as libxml2 can.
    """
    from lxml import etree

    if len(data) > MAX_BYTES:
        raise BadDocument(name, f"it has more than {MAX_BYTES >> 20} MiB", "split it")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=recover,
        remove_pis=True,
        remove_comments=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise BadDocument(name, f"it is not well-formed XML ({error})", "mend it or leave it out") from error
    if root is None:
        raise BadDocument(name, "there is no XML in it", "leave it out")
    return root


def local(element: Any) -> str:
    """An element's name without its namespace; "" for what is no element (an unexpanded entity)."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def words(text: str) -> frozenset[str]:
    """Names of elements, written with blanks between them."""
    return frozenset(text.split())
