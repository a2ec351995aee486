"""The whole build on small JSON lines; its worker processes are real."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xgen.data.recipe import Caps, CorpusRecipe, SourceSpec, TokenizerSpec
from xgen.data.run import Built, Places, build_corpus
from xgen.data.shards import open_corpus
from xgen.errors import XgenError

LICENCE = Path(__file__).parent.parent.parent / "LICENSE"
PARTS = ("the pump", "a valve", "the old engine", "every pipe", "the lid", "this wheel", "a second lamp")
DOINGS = ("is opened by hand", "turns with the shaft", "was cleaned on the first day", "must be kept dry")


def said(seed: int, n: int = 12) -> str:
    """A page of a manual that nobody wrote."""
    chance = random.Random(seed)

    def number() -> str:
        return "".join(chance.choices("bdfgklmnprst", k=7))

    lines = [
        f"When {chance.choice(PARTS)} {chance.choice(DOINGS)}, {number()} comes to {number()} and {number()}."
        for _ in range(n)
    ]
    return "\n\n".join(lines)


def lines(documents: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    first = [{"id": f"a{i}", "text": said(i)} for i in range(30)]
    first += [{"id": "copy", "text": said(3)}, {"id": "near", "text": said(4) + "\n\nAnd one line more."}]
    first += [{"id": "licence", "text": LICENCE.read_text(encoding="utf-8")}, {"id": "short", "text": "No."}]
    first += [{"id": "asked", "text": said(777)}, {"id": "mute"}]
    second = [{"id": f"b{i}", "text": said(100 + i)} for i in range(20)]
    code = [
        {
            "id": f"c{i}",
            "text": f"# Copyright X. License Y.\n\ndef function_{i}(value):\n"
            + f"    value += step_{i}\n" * 30,
        }
        for i in range(4)
    ]
    (tmp_path / "first.jsonl").write_text(lines(first))
    (tmp_path / "second.jsonl").write_text(lines(second))
    (tmp_path / "code.jsonl").write_text(lines(code))
    evaluations = tmp_path / "eval"
    evaluations.mkdir()
    with gzip.open(evaluations / "set.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": said(777), "questions": []}) + "\n")
    return tmp_path


def source(folder: Path, name: str, kind: str = "prose", language: str = "en") -> SourceSpec:
    return SourceSpec(
        name, "jsonl", kind, paths=(f"{name}.jsonl",), language=language, licence="MIT", folder=str(folder)
    )


def recipe(folder: Path, **changes: Any) -> CorpusRecipe:
    sources = (
        source(folder, "first"),
        source(folder, "second"),
        source(folder, "code", "code", "py"),
    )
    return replace(CorpusRecipe("small", TokenizerSpec(400, 1), sources, held_out_share=0.05), **changes)


def places(folder: Path, name: str = "out") -> Places:
    return Places(folder / name, folder / f"{name}.work", folder / "dl", None, (folder / "eval",))


def reasons(built: Built) -> dict[str, int]:
    return {
        f"{entry.source} {entry.reason}": entry.documents
        for entry in built.tally.entries()
        if entry.verdict == "rejected"
    }


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_document_is_kept_or_has_its_reason(folder: Path) -> None:
    built = build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    assert built.tally.fault() is None
    assert reasons(built) == {
        "first exact_duplicate": 1,
        "first near_duplicate": 1,
        "first licence_text": 1,
        "first too_little_left": 1,
        "first evaluation_overlap": 1,
        "first no_text": 1,
    }
    corpus = open_corpus(folder / "out", check=True)
    texts = {
        record.id.rsplit(":", 1)[-1]: (record, tokens.document(i))
        for tokens in corpus.sets.values()
        for i, record in enumerate(tokens.documents())
    }
    kept, n_bytes = built.tally.total("kept")
    assert kept == len(texts) == 54
    assert n_bytes == sum(tokens.n_bytes for tokens in corpus.sets.values())
    assert set(corpus.sets) == {"prose.en", "prose.en.held", "code.py"}

    from xgen.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder / "out")
    for tokens in corpus.sets.values():
        for i, record in enumerate(tokens.documents()):
            text = tokenizer.decode(tokens.document(i).tolist())
            assert len(text.encode()) == record.bytes
            assert record.licence == "MIT"
            assert "Copyright" not in text


def test_code_whose_language_can_name_no_set_is_rejected(folder: Path) -> None:
    record = json.loads((folder / "code.jsonl").read_text().splitlines()[0])
    named = [record | {"id": name, "language": name} for name in ("C++", "../x")]
    (folder / "code.jsonl").write_text(lines([*named, record]))
    both = replace(recipe(folder), source=(source(folder, "first"), source(folder, "code", "code", "")))
    built = build_corpus(both, places(folder), n_workers=1, quiet=True)
    gone = [entry.language for entry in built.tally.entries() if entry.reason == "no_language_of_code"]
    assert gone == ["", "../x", "C++"]


def test_law_counts_do_not_depend_on_the_order_of_sources(folder: Path) -> None:
    whole = recipe(folder, caps=Caps(text_mb=0.02))
    turned = replace(whole, source=whole.source[::-1])
    one = build_corpus(whole, places(folder, "one"), n_workers=1, quiet=True)
    other = build_corpus(turned, places(folder, "other"), n_workers=1, quiet=True)
    assert one.tally.counts == other.tally.counts
    assert one.tally.samples == other.tally.samples


def test_a_second_build_does_only_what_changed(folder: Path) -> None:
    build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    before = content(folder / "out")
    work = folder / "out.work"
    times = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    assert content(folder / "out") == before
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == times
    (folder / "second.jsonl").write_text(lines([{"id": "new", "text": said(500)}]))
    build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    again = {path: path.stat().st_mtime_ns for path in (work / "clean").rglob("*") if path.is_file()}
    assert sum(times.get(path) == time for path, time in again.items()) == 6, "two of three units stay"


BUILD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import test_run
from xgen.data.run import build_corpus

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    build_corpus(test_run.recipe(folder), test_run.places(folder, "killed"), n_workers=2)
"""


def test_law_killed_anywhere_it_goes_on_to_the_same_corpus(folder: Path) -> None:
    build_corpus(recipe(folder), places(folder, "whole"), n_workers=1, quiet=True)
    script = folder / "build.py"
    script.write_text(BUILD)
    command = [sys.executable, str(script), str(folder), str(Path(__file__).parent)]
    chance = random.Random(5)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for _ in range(chance.randrange(1, 6)):
            process.stderr.readline()  # a line a step: killed after one of them
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert content(folder / "killed") == content(folder / "whole")


def test_workers_end_with_their_parent(folder: Path) -> None:
    script = folder / "wait.py"
    script.write_text(
        "import os, time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\nfrom xgen.data.run import _begin\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), _begin, (os.getpid(),))\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    wait_for(lambda: not Path(f"/proc/{worker}").exists() if Path("/proc/self").exists() else _gone(worker))


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not done():
        assert time.monotonic() < until
        time.sleep(0.1)


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def test_what_goes_wrong_in_a_worker_is_one_sentence_here(folder: Path) -> None:
    broken = recipe(folder, source=(source(folder, "first"), source(folder, "missing")))
    with pytest.raises(XgenError, match=r"missing\.jsonl"):
        build_corpus(broken, places(folder), n_workers=2, quiet=True)
    assert not (folder / "out").exists()


def test_only_a_corpus_is_replaced(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("the only copy")
    with pytest.raises(XgenError, match="there is something that is no corpus"):
        build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    assert (folder / "out" / "thesis.txt").read_text() == "the only copy"
    with pytest.raises(XgenError, match="there is something that is no corpus"):
        build_corpus(recipe(folder), places(folder, "first.jsonl"), n_workers=1, quiet=True)


def test_what_a_killed_build_left_of_the_corpus_goes(folder: Path) -> None:
    left = folder / f"..out.new.{'0a' * 16}"
    left.mkdir()
    (left / "prose.en.ids").write_bytes(b"half")
    for _ in range(2):
        build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)
    assert not left.exists()
    assert sorted(path.name for path in folder.glob(".*")) == []
    assert open_corpus(folder / "out", check=True).sets


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_second_build_in_one_folder_is_sent_away(folder: Path) -> None:
    from xgen.files import held_alone

    with (
        held_alone(folder / "out.work" / "lock", "first", "first"),
        pytest.raises(XgenError, match="another process builds it now"),
    ):
        build_corpus(recipe(folder), places(folder), n_workers=1, quiet=True)


def test_a_model_that_is_not_pulled_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XGEN_HOME", str(folder / "home"))
    with pytest.raises(XgenError, match="smollm2: its tokenizer is not on disk"):
        build_corpus(recipe(folder, tokenizer="smollm2"), places(folder), n_workers=1, quiet=True)


def test_what_is_held_back_is_kept_out_of_every_source(folder: Path) -> None:
    from xgen.data.groups import ReadingWords, Wording
    from xgen.data.tuning import Manner

    turns = [{"role": "user", "content": said(7)}, {"role": "assistant", "content": "Yes."}]
    (folder / "talk.jsonl").write_text(lines([{"id": name, "messages": turns} for name in ("x", "y")]))
    (folder / "held.json").write_text(json.dumps({"talk": {"x": ["q"]}}))
    talk = SourceSpec("talk", "chats", "chat", paths=("talk.jsonl",), licence="MIT", folder=str(folder))
    held = recipe(folder, source=(source(folder, "first"), talk), held_back="held.json")
    word = Wording("")
    manner = Manner(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        ReadingWords("", "", "", "", "", word, word),
    )
    found = reasons(build_corpus(held, places(folder), manner, n_workers=1, quiet=True))
    assert found["talk held_back"] == 1
    assert found["talk evaluation_overlap"] == 1, "the same words under another id"
    assert found["first evaluation_overlap"] == 2, "its page and the evaluation's"
