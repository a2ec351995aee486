"""The command as a user runs it: a process, a real model on disk, and a network that must not be touched."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
TOUCHED_THE_NETWORK = 99
# One thread: two of them wait for each other many times longer where other processes want the same cores.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
OFFLINE = f"""
import os, socket
def refuse(*words, **options): os._exit({TOUCHED_THE_NETWORK})
socket.socket.connect = socket.getaddrinfo = refuse
from xgen.__main__ import main
main()
"""
TEXT = """The survey of the lower river was led by Ada Moreau.

She counted 412 herons between the old mill and the sea.
Most of them stood in the reeds near Vall\u00e9e \U0001f426.
The work was paid for by the town of Brelle and finished on 3 May 2021.
"""


@pytest.fixture
def survey(tmp_path: Path, pulled: Callable[[str], Path]) -> Path:
    pulled("smollm2")
    path = tmp_path / "survey.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def xgen(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OFFLINE, *words, "--model", "smollm2"]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, encoding="utf-8", env=ONE_THREAD
    )


def test_json_answers_stand_in_the_document(survey: Path) -> None:
    questions = ["Who led the survey?", "How many herons did she count?"]
    asked = [word for question in questions for word in ("--ask", question)]
    ended = xgen("read", str(survey), *asked, "--quote", "--summarize", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["model"] == "smollm2"
    assert [answer["question"] for answer in found["answers"]] == questions
    (report,) = found["documents"]
    assert 40 < report["tokens_read"] <= report["tokens_total"]
    citations = [citation for answer in found["answers"] for citation in answer["citations"]]
    citations += [sentence["citation"] for sentence in found["summary"]["sentences"]]
    assert citations
    for citation in citations:
        assert citation["verified"]
        assert TEXT[citation["start"] : citation["end"]] == citation["quote"]
        assert citation["line"] == 1 + TEXT.count("\n", 0, citation["start"])


def test_people_get_how_it_was_read_then_the_answers(survey: Path) -> None:
    ended = xgen("read", str(survey), "--ask", "Who led the survey?", "--quote")
    assert ended.returncode == 0, ended.stderr
    first, second, *_ = ended.stdout.splitlines()
    assert first.startswith("smollm2, read ")
    assert second.startswith(f"{survey}: ")
    assert "Q: Who led the survey?\nA: " in ended.stdout


def test_a_window_that_is_too_small_names_the_numbers(survey: Path) -> None:
    survey.write_text(TEXT * 40, encoding="utf-8")
    ended = xgen("read", str(survey), "--ask", "Who?", "--read", "whole", "--window", "1024")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "1,024" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_chat_streams_and_ctrl_c_ends_it_at_once(survey: Path) -> None:
    command = [sys.executable, "-c", OFFLINE, "chat", str(survey), "--model", "smollm2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=ONE_THREAD
    ) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        talk.stdin.write("Tell the story of the survey, in many words.\n")
        talk.stdin.flush()
        first = talk.stdout.read(1)
        talk.send_signal(signal.SIGINT)
        rest, said = talk.communicate()
    assert first.isprintable()
    assert "<|" not in first + rest
    assert len(rest) < 1000, "it went on after Ctrl-C"
    assert (talk.returncode, said.count("\n")) == (130, 1)
    assert "interrupted" in said
