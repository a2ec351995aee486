"""Aozora Bunko's plain texts (https://www.aozora.gr.jp/annotation/): Japanese books, Shift-JIS with notes.

Readings (《...》) and notes on type (［＃...］) go, what they annotate stays; a character outside
Shift-JIS is put in by the number that its note gives (JIS X 0213 or Unicode), else shown as 〓. The block
that explains the signs and the colophon after 底本： go too.

Works that are not in the public domain are refused: the colophon of such a work names its licence, its
copyright or a permission. Works without a colophon in Aozora's form are refused as well.
"""

import re

from xgen.errors import BadDocument


class NotFree(BadDocument):
    """A work whose own notes say that it is protected, or do not show that it is not."""


_PROTECTED = re.compile(
    r"クリエイティブ|creativecommons|ライセンス|著作権|許諾|許可を得|転載|CC[ -]BY|©", re.IGNORECASE
)
_COLOPHON = re.compile(r"^(?:［＃[^］\n]*］)?[\s　]*底本(?:の親本)?：", re.MULTILINE)
_RULE = re.compile(r"^-{20,}[ \t]*$", re.MULTILINE)
# "※［＃「木＋吶のつくり」、第3水準1-85-54］", "※［＃感嘆符二つ、1-8-75］", "※［＃「口＋它」、U+54A4、12-3］"
_CODED = re.compile(
    r"※［＃[^］\n]*?、(?:U\+([0-9A-Fa-f]{4,6})|(?:第[34]水準)?([12])-(\d{1,2})-(\d{1,2}))[^］\n]*］"
)
_UNKNOWN = re.compile(r"※［＃[^］\n]*］")
_BREAK = re.compile(r"^[\s　]*［＃(?:改ページ|改丁|改見開き|改段)］[\s　]*$", re.MULTILINE)
_NOTE = re.compile(r"［＃[^［］\n]*(?:［[^［］\n]*］[^［］\n]*)*］")
_READING = re.compile(r"(?<=[^\s《》])《[^《》\n]{1,80}》")
_ENDING = "青空文庫"


def extract_aozora(data: bytes) -> str:
    """The text of a work: title and author first, a paragraph a line.

    Raises NotFree for a work that its notes do not show to be in the public domain, BadDocument for a
    file of another kind.
    """
    try:
        text = data.decode("cp932").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadDocument("Aozora", f"it is not Shift-JIS ({error})", "leave it out") from error
    colophon = _COLOPHON.search(text)
    if colophon is None or _ENDING not in text[colophon.start() :]:
        raise NotFree("Aozora", "it has no colophon that says where the text is from", "leave it out")
    protected = _PROTECTED.search(text, colophon.start())
    if protected:
        raise NotFree("Aozora", f"its colophon speaks of {protected[0]}", "leave it out")
    body = _without_legend(text[: colophon.start()])
    body = _NOTE.sub("", _characters(_BREAK.sub("", body)))
    body = _READING.sub("", body).replace("｜", "")
    lines = [line.strip(" \t\u3000") for line in body.split("\n")]
    result = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    if not result:
        raise BadDocument("Aozora", "there is no text in it", "leave it out")
    return result


def _without_legend(text: str) -> str:
    """Title and text without the block between two rules that explains the signs."""
    rules = list(_RULE.finditer(text, 0, 4000))
    if len(rules) >= 2:
        return text[: rules[0].start()] + text[rules[1].end() :]
    return text


def _characters(text: str) -> str:
    """Put in the characters that notes describe."""
    return _UNKNOWN.sub("〓", _CODED.sub(_by_number, text))


def _by_number(note: "re.Match[str]") -> str:
    if note[1]:
        number = int(note[1], 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "〓"
    return _of_jis(int(note[2]), int(note[3]), int(note[4]))


def _of_jis(plane: int, row: int, cell: int) -> str:
    """The character at plane-row-cell of JIS X 0213, by the codec EUC-JIS-2004."""
    if not (1 <= row <= 94 and 1 <= cell <= 94 and plane in (1, 2)):
        return "〓"
    prefix = b"\x8f" if plane == 2 else b""
    try:
        return (prefix + bytes((0xA0 + row, 0xA0 + cell))).decode("euc_jis_2004")
    except UnicodeDecodeError:
        return "〓"
