"""Markdown (https://spec.commonmark.org) as prose: links by their words, no pictures, no HTML tags.

Headings, lists, tables, emphasis and code stay as they are written, for that is how people read Markdown.
What a program inserted between marks of its own goes. Inside fenced code nothing is touched.
"""

import re

from xgen.errors import BadDocument

_FENCE = re.compile(
    r"^[ \t]*(`{3,}+|~{3,}+)[^\n]*\n.*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
# What a program put in and marked as its own ("<!-- toc START -->...<!-- toc END -->"), and the notice at
# the end of lessons that were translated by machine, which may stand without marks.
_INSERTED = re.compile(r"<!-- (\w[\w -]*?)[ :-]START -->.*?<!-- \1[ :-]END -->", re.DOTALL)
_NOTICE = re.compile(
    r"(?:^\*\*[^\n]*\n\s*)?^[^\n]*\(https://github\.com/Azure/co-op-translator\)[^\n]*$", re.MULTILINE
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TARGET = r"\((?:[^()\s]|\([^()\s]*\))*(?:\s+(?:\"[^\"\n]*\"|'[^'\n]*'))?\s*\)"
_PICTURE = re.compile(r"!\[[^\]\n]{0,1000}\](?:" + _TARGET + r"|\[[^\]\n]*\])")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]\n]|\[[^\[\]\n]*\]){0,1000})\](?:" + _TARGET + r"|\[[^\]\n]*\])")
_DEFINED = re.compile(r"^[ ]{0,3}\[[^\]\n]+\]:[ \t]+\S+[^\n]*\n?", re.MULTILINE)
_TAG = re.compile(r"</?[A-Za-z][\w-]*(?:\s[^<>]*)?/?>")
_CODE = re.compile(r"(?<!`)(`++).+?(?<!`)\1(?!`)", re.DOTALL)


def extract_markdown(data: bytes) -> str:
    """The text of a Markdown file, which must be UTF-8; raises BadDocument if it is not or is empty."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadDocument("Markdown", f"it is not UTF-8 ({error})", "leave it out") from error
    text = _NOTICE.sub("", _INSERTED.sub("", _FRONT.sub("", text)))
    pieces, end = [], 0
    for fence in _FENCE.finditer(text):
        pieces += [_prose(text[end : fence.start()]), fence[0]]
        end = fence.end()
    pieces.append(_prose(text[end:]))
    result = re.sub(r"\n{3,}", "\n\n", "".join(pieces)).strip()
    if not result:
        raise BadDocument("Markdown", "there is no text in it", "leave it out")
    return result


def _prose(text: str) -> str:
    """Text outside of fences; words in back-quotes are kept apart from what follows."""
    text = _DEFINED.sub("", _COMMENT.sub("", text))
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_plain(text[end : code.start()]), code[0]]
        end = code.end()
    joined = "".join([*pieces, _plain(text[end:])])
    return re.sub(r"[ \t]+$", "", joined, flags=re.MULTILINE)


def _plain(text: str) -> str:
    text = _PICTURE.sub("", text)
    for _ in range(2):  # a picture inside a link leaves a link with nothing in it
        text = _LINK.sub(lambda link: link[1], text)
    return _TAG.sub("", text)
