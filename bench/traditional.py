"""Questions over simplified Chinese texts, put in traditional characters as Taiwan has them.

    python bench/traditional.py recipes/questions/cmrc2018_train.jsonl.gz --out recipes/questions/NEW.jsonl.gz

Reads what questions.py reads, so no other types of question; writes the same form, ids ending in -t. The
characters are OpenCC's (https://github.com/BYVoid/OpenCC, Apache-2.0; `pip install ".[bench]"`), by the words
around them: an answer is what stands at its place afterwards. Counted: what is kept, and what is left out,
which is development documents (dev_ids.json), other languages, and texts that change their length, so that
no place in them is sure.
"""

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from development import IDS
from questions import Paragraph, load

from xgen.errors import BadDocument, XgenError
from xgen.files import write_whole


def traditional(
    paragraphs: Iterable[Paragraph], held: Collection[str], convert: Callable[[str], str], told: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Lines of `paragraphs` that are not `held`, by `convert`; `told` counts what is kept and left out."""
    for p in paragraphs:
        if p.id in held or p.lang != "zh":
            told["development documents" if p.id in held else "documents in other languages"] += 1
            continue
        text, asked = convert(p.text), []
        if len(text) != len(p.text):
            told["texts of another length"] += 1
            continue
        for q in p.questions:
            answers = [{"text": text[g.start : g.start + len(g.text)], "start": g.start} for g in q.golds]
            kind = "extractive" if answers else "unanswerable"
            asked.append({"id": f"{q.id}-t", "question": convert(q.text), "type": kind, "answers": answers})
        told.update({"documents": 1, "questions": len(asked)})
        yield {
            "id": f"{p.id}-t",
            "lang": p.lang,
            "title": convert(p.article),
            "text": text,
            "questions": asked,
        }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("src", type=Path, help="a set of questions, or a folder of sets")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")  # *.jsonl or *.jsonl.gz
    options, told = parser.parse_args(arguments), Counter[str]()
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise XgenError("opencc", "it is not installed", 'pip install ".[bench]"') from error
    convert, held = OpenCC("s2tw").convert, json.loads(IDS.read_text("utf-8"))
    sets = [traditional(s.paragraphs, held.get(s.name, ()), convert, told) for s in load(options.src)]
    lines = [line for each in sets for line in each]
    if not lines:
        why = ", ".join(f"{what}: {n}" for what, n in told.items()) or "no document with questions"
        raise BadDocument(options.src.name, f"nothing of it is kept ({why})", "name Chinese questions")
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    write_whole(options.out, gzip.compress(data, mtime=0) if options.out.suffix == ".gz" else data)
    print(json.dumps(told))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except XgenError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
