import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xgen import errors, show


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    screen = Console(
        file=out, force_terminal=True, width=100, highlight=False, soft_wrap=True, color_system=None
    )
    monkeypatch.setattr(show, "screen", screen)
    return out


@pytest.mark.parametrize(
    "text", ["a [red]b[/red] [/]", "https://x.y/z?a=1 'q' 1,234", "x" * 500, "[/nothing open]"]
)
def test_a_note_is_plain_and_on_stderr(capsys: pytest.CaptureFixture[str], text: str) -> None:
    show.note(text)
    said = capsys.readouterr()
    assert said.err == text + "\n"
    assert said.out == ""


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_law_printed_json_is_read_back(value: object) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        show.print_json(value)
    assert json.loads(out.getvalue()) == value
    assert out.getvalue().endswith("\n")


def test_json_keeps_its_letters_and_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_json({"question": "誰が?"})
    said = capsys.readouterr()
    assert said.out == '{\n  "question": "誰が?"\n}\n'
    assert said.err == ""


@pytest.mark.parametrize(
    ("unit", "shown"), [("B", ["1.0", "2.0", "MB"]), ("tok", ["1000000/2000000", "tok"])]
)
def test_a_terminal_sees_how_far_it_is(terminal: io.StringIO, unit: str, shown: list[str]) -> None:
    with show.progress("Reading", 2_000_000, unit) as advance:
        advance(1_000_000)
    drawn = terminal.getvalue()
    for piece in ["Reading", *shown]:
        assert piece in drawn


def test_quiet_and_piped_draw_no_bar(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with show.progress("Reading", 10, "tok", quiet=True) as advance:
        advance(10)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(show, "screen", Console(stderr=True, force_terminal=False))
    with show.progress("Reading", 10, "tok") as advance:
        advance(10)
    assert "\x1b" not in capsys.readouterr().err
    for seconds, rate in ((2, "5 tok/s"), (0.01, "1,000 tok/s"), (25, "0.4 tok/s")):
        clock = iter((0, seconds))
        monkeypatch.setattr(show.time, "perf_counter", lambda clock=clock: next(clock))
        with show.progress("Reading", 10, "tok") as advance:
            advance(10)
        assert capsys.readouterr().err == f"Reading: 10 tok in {seconds:.1f} s ({rate})\n"


def test_an_error_inside_the_bar_passes_through(terminal: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError), show.progress("Reading", 10, "B"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "kind", [errors.BadDocument, errors.BadModel, errors.TooLong, errors.NotPulled, errors.NoRoom]
)
def test_an_error_is_one_sentence_with_its_parts(kind: type[errors.XgenError]) -> None:
    error = kind("a.pdf", "page 3 is broken", "leave it out with --pages")
    assert isinstance(error, errors.XgenError)
    assert str(error) == "a.pdf: page 3 is broken; leave it out with --pages."
    assert (error.where, error.what, error.way_out) == (
        "a.pdf",
        "page 3 is broken",
        "leave it out with --pages",
    )
