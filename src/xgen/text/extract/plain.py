"""Plain text and Markdown: bytes to the text they encode, unchanged."""

import codecs
import re

from xgen.errors import BadDocument
from xgen.text.document import Document

# The byte order marks, the longer first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Encodings that are still met, the likelier first. A wider choice makes short texts go wrong: among all
# that charset-normalizer knows, "café" is a line of Chinese.
_LEGACY = (
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
)

_MAGIC = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office file or a password-protected one"),
)

_CONTROL = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")  # those that no text file needs
_SAMPLE_BYTES = 1 << 20


def extract(data: bytes, name: str) -> Document:
    """The document of a plain text or Markdown file: `text` is the decoded file, unchanged."""
    text, dropped = decode(data, name)
    return Document(name, text, dropped=tuple(dropped))


def decode(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text of a file and what was lost in decoding it, in sentences.

    A byte order mark decides; then UTF-8 if the bytes are valid in it (the text is then exactly what
    they encode, line ends included); then UTF-16 by the pattern of its zero bytes; then the best guess of
    charset-normalizer. Mostly valid UTF-8 with a few bad bytes is read as UTF-8 and the bad bytes are
    counted. Raises BadDocument for an empty or binary file and for an encoding nobody recognises.
    """
    if not data.strip():
        raise BadDocument(name, "it is empty", "name a file with text in it")
    text, dropped = _decode_marked(data, name) or _decode_unmarked(data, name)
    if len(_CONTROL.findall(text, 0, _SAMPLE_BYTES)) > 0.02 * min(len(text), _SAMPLE_BYTES):
        raise _binary(data, name)
    if not text.strip():
        raise BadDocument(name, "it holds nothing but white space", "name a file with text in it")
    return text, dropped


def _decode_marked(data: bytes, name: str) -> tuple[str, list[str]] | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), []
            except UnicodeDecodeError as error:
                raise BadDocument(
                    name,
                    f"it is marked as {encoding.upper()} but is broken at byte {error.start + len(mark)}",
                    "save it again as UTF-8",
                ) from error
    return None


def _decode_unmarked(data: bytes, name: str) -> tuple[str, list[str]]:
    if b"\0" in data[:_SAMPLE_BYTES]:
        return _decode_utf16(data, name), []
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
    n_bad = text.count("\ufffd")
    n_good = len(re.findall(r"[^\x00-\x7f\ufffd]", text))
    if n_bad * 10 <= n_good:  # text in another encoding is hardly ever valid UTF-8 ten times over
        return text, [f"{n_bad} stretches of bytes are not valid UTF-8 and stand as \ufffd"]
    return _decode_legacy(data, name), []


def _decode_utf16(data: bytes, name: str) -> str:
    """UTF-16 without a mark: ASCII's zero bytes all stand on one side. Anything else is binary."""
    sample = data[:_SAMPLE_BYTES]
    n_even, n_odd = sample[0::2].count(0), sample[1::2].count(0)
    if 10 * min(n_even, n_odd) < max(n_even, n_odd) and 10 * max(n_even, n_odd) > len(sample) // 2:
        try:
            text = data.decode("utf-16-be" if n_even > n_odd else "utf-16-le")
        except UnicodeDecodeError:
            raise _binary(data, name) from None
        if "\0" not in text:
            return text
    raise _binary(data, name)


def _decode_legacy(data: bytes, name: str) -> str:
    """By charset-normalizer; among guesses that look equally well the likelier encoding wins."""
    from charset_normalizer import from_bytes

    if any(data.startswith(magic) for magic, _ in _MAGIC):
        raise _binary(data, name)
    guesses = list(from_bytes(data[:_SAMPLE_BYTES], cp_isolation=list(_LEGACY)))
    guesses.sort(key=lambda g: (round(g.chaos, 2), -g.coherence, _LEGACY.index(g.encoding)))
    for guess in guesses:
        try:
            return data.decode(guess.encoding)
        except UnicodeDecodeError:
            continue
    raise BadDocument(name, "its encoding could not be recognised", "save it as UTF-8")


def _binary(data: bytes, name: str) -> BadDocument:
    kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), "a binary file")
    return BadDocument(name, f"it is {kind}, not text", "name a PDF, HTML, DOCX, Markdown or text file")
