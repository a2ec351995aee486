"""Debian packages, wheels and npm packages that are made here; their clients are stand-ins on PATH."""

import gzip
import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources import documents, download
from xgen.data.sources.clients import NotBrought
from xgen.data.sources.packages import language_of_package, language_of_path
from xgen.errors import XgenError

Files = dict[str, bytes]


def tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def deb(path: Path, files: Files) -> None:
    data = gzip.compress(tar({f"./{name}": data for name, data in files.items()}))
    header = f"{'data.tar.gz':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"!<arch>\n" + header.encode() + data)


def wheel(path: Path, files: Files, metadata: str = "License-Expression: MIT") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files.items():
            out.writestr(name, data)
        out.writestr(f"{path.name.split('-py3')[0]}.dist-info/METADATA", f"{metadata}\n\nA package.")


def npm(path: Path, files: Files, licence: object = "MIT") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    package = {"package/package.json": json.dumps({"license": licence}).encode()}
    inner = {f"package/{name}": data for name, data in files.items()}
    path.write_bytes(gzip.compress(tar({**package, **inner})))


def spec(kind: str, packages: list[str], **fields: object) -> SourceSpec:
    known = {"name": "s", "set": "prose", **fields}
    return SourceSpec(kind=kind, packages=tuple(packages), **known)  # type: ignore[arg-type]


COPYRIGHT = b"Format: x\n\nFiles: *\nLicense: GPL-2+\n"
MAN = b".TH A 1\n.SH NAME\na page\n"


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    deb(
        tmp_path / "debian" / "a-manual_1%3a2-1_all.deb",
        {
            "usr/share/man/de/man1/a.1.gz": gzip.compress(MAN),
            "usr/share/man/man1/a.1.gz": gzip.compress(MAN),
            "usr/share/doc/a/index.html": b"<p>An English page.",
            "usr/share/doc/a/index.fr.html": "<p>Une page en français.".encode(),
            "usr/share/doc/a/broken.1.gz": b"no gzip",
            "usr/share/doc/a/picture.png": b"\x89PNG\r\n",
            "usr/share/doc/a/copyright": COPYRIGHT,  # behind what it speaks of
        },
    )
    return tmp_path


def test_documents_of_a_debian_package(manual: Path) -> None:
    found = list(documents(spec("debian", ["a-manual==1:2-1"], leave=("*.png", "*/copyright")), manual))
    here = "a-manual==1:2-1:usr/share"
    licence = "GPL-2.0-or-later"
    assert found == [
        Document("NAME\n\na page", "s", f"{here}/man/de/man1/a.1.gz", licence, "de"),
        Document("NAME\n\na page", "s", f"{here}/man/man1/a.1.gz", licence, "en"),
        Document("An English page.", "s", f"{here}/doc/a/index.html", licence, "en"),
        Document("Une page en français.", "s", f"{here}/doc/a/index.fr.html", licence, "fr"),
        Rejected("s", f"{here}/doc/a/broken.1.gz", "en", "cannot_be_read", "the gz file is damaged"),
    ]
    some = spec("debian", ["a-manual"], take=("*/man/*", "*.html"), languages=("de", "fr"))
    assert [item.language for item in documents(some, manual)] == ["de", "fr"]
    [fixed] = documents(spec("debian", ["a-manual"], take=("*.fr.html",), language="oc"), manual)
    assert fixed.language == "oc"


def test_a_file_that_is_no_text_is_told(manual: Path) -> None:
    [found] = documents(spec("debian", ["a-manual"], take=("*.png",)), manual)
    assert isinstance(found, Rejected)
    assert found.reason == "cannot_be_read"
    assert "a PNG image" in found.text


def test_a_package_without_a_licence_is_rejected_unless_the_recipe_states_one(tmp_path: Path) -> None:
    deb(tmp_path / "debian" / "b_1_all.deb", {"usr/a.txt": b"words", "usr/b.txt": b"words"})
    found = list(documents(spec("debian", ["b"]), tmp_path))
    assert [(type(item), item.reason) for item in found if isinstance(item, Rejected)] == [
        (Rejected, "no_licence_stated")
    ] * 2
    stated = spec("debian", ["b"], licence="MIT", licence_source="its website")
    assert {item.licence for item in documents(stated, tmp_path) if isinstance(item, Document)} == {"MIT"}
    npm(tmp_path / "npm" / "c-1.0.0.tgz", {"a.js": b"let a = 1"}, "UNLICENSED")
    [closed] = documents(spec("npm", ["c"], set="code"), tmp_path)
    assert isinstance(closed, Rejected)
    assert closed.reason == "licence_not_open"


def test_code_of_a_wheel_and_of_an_npm_package(tmp_path: Path) -> None:
    files = {
        "a/b.py": b"x = 1\n",
        "a/tests/t.py": b"y = 1\n",
        "a/c.js": b"let c\n",
        "a/d.dat": b"1",
        "a/e.py": b"",
    }
    wheel(tmp_path / "wheel" / "A_b.c-1.0-py3-none-any.whl", files)
    found = list(documents(spec("wheel", ["a-B_c==1.0"], set="code", leave=("*/tests/*",)), tmp_path))
    assert found == [
        Document("x = 1\n", "s", "A_b.c==1.0:a/b.py", "MIT", "py"),
        Document("let c\n", "s", "A_b.c==1.0:a/c.js", "MIT", "js"),
        Rejected("s", "A_b.c==1.0:a/e.py", "py", "no_text", ""),
    ]
    npm(tmp_path / "npm" / "x-y-2.1.0.tgz", {"src/a.ts": b"let a = 1\n", "dist/a.js": b"let a\n"})
    npm(tmp_path / "npm" / "x-y-more-2.1.0.tgz", {"src/a.ts": b"another"})
    found = list(documents(spec("npm", ["@x/y"], set="code", leave=("dist/*",)), tmp_path))
    assert found == [Document("let a = 1\n", "s", "@x/y==2.1.0:src/a.ts", "MIT", "ts")]


def test_a_damaged_archive_is_rejected_where_it_breaks_off(tmp_path: Path) -> None:
    wheel(tmp_path / "wheel" / "a-1-py3-none-any.whl", {"a.py": b"x = 1"})
    path = tmp_path / "wheel" / "b-1-py3-none-any.whl"
    path.write_bytes((tmp_path / "wheel" / "a-1-py3-none-any.whl").read_bytes()[:40])
    [found] = documents(spec("wheel", ["b"], set="code", licence="MIT"), tmp_path)
    assert isinstance(found, Rejected)
    assert (found.id, found.reason) == ("b==1:", "archive_damaged")


def test_a_cap_takes_a_sample_that_is_the_same_every_time(tmp_path: Path) -> None:
    files = {f"{i:03}.txt": bytes([97 + i % 26]) * 1000 for i in range(100)}
    deb(tmp_path / "debian" / "a_1_all.deb", {**files, "usr/share/doc/a/copyright": COPYRIGHT})
    capped = spec("debian", ["a"], take=("*.txt",), max_mb_per_package=0.02)
    found = list(documents(capped, tmp_path))
    taken = [item for item in found if isinstance(item, Document)]
    left = [item for item in found if isinstance(item, Rejected)]
    assert (len(taken), len(left), {item.reason for item in left}) == (20, 80, {"over_package_cap"})
    assert [item.id for item in taken] != sorted(item.id for item in taken)
    assert found == list(documents(capped, tmp_path))


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("usr/share/help/pt_BR/x/a.page", "pt"),
        ("usr/share/help/C/x/a.page", ""),
        ("usr/share/help/kab/x/a.page", "kab"),
        ("usr/share/locale/fy/LC_MESSAGES/it.mo", "fy"),
        ("usr/share/locale/sr@latin/LC_MESSAGES/x.mo", "sr"),
        ("usr/share/man/zh_CN.UTF-8/man1/x.1", "zh"),
        ("usr/share/man/man1/x.1", ""),
        ("usr/share/doc/html/de-DE/x.html", "de"),
        ("usr/share/doc/x.html.fr.utf8", "fr"),
        ("usr/share/doc/x/changes.de.html", "de"),
        ("usr/share/doc/x/notes-ja.txt", "ja"),
        ("usr/share/mediawiki/i18n/zh-hans.json", "zh"),
        ("usr/share/mediawiki/i18n/crh-ro.json", "crh"),
        ("usr/share/doc/faq-de.html", "de"),
        ("usr/share/doc/x/is/no/io.html", ""),
        ("README", ""),
    ],
)
def test_a_language_by_its_path(path: str, language: str) -> None:
    assert language_of_path(path) == language


def test_a_language_by_the_package_s_name() -> None:
    names = {
        "manpages-de-dev": "de",
        "libreoffice-help-pt-br": "pt",
        "fortunes": "",
        "vim-runtime": "",
        "a-xx": "",
    }
    assert {name: language_of_package(name) for name in names} == names


CLIENT = """#!{python}
import os, pathlib, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(words) + chr(10))
if {fails!r}:
    sys.stderr.write("notice: something\\n" + {fails!r} + "\\n")
    sys.exit(100)
after = words[words.index("download") + 1 :] if "download" in words else []
for name, _, version in (word.partition("=") for word in after):
    pathlib.Path(name + "_" + version.replace(":", "%3a") + "_all.deb").write_bytes(b"deb")
for word in words[3:] if words[0] == "pack" else []:
    name, _, version = word.removeprefix("@").partition("@")
    pathlib.Path(name.replace("/", "-") + "-" + version + ".tgz").touch()
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, fails: str = "") -> Path:
    """A client that brings empty packages by the names it is asked for and notes how it was called."""
    log = folder / f"{name}.log"
    program = folder / name
    program.write_text(CLIENT.format(python=sys.executable, log=str(log), fails=fails))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return log


def test_packages_are_brought_once_by_apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = stand_in(tmp_path, monkeypatch, "apt-get")
    asked = spec("debian", ["a==1:2-1", "b==3"])
    download(asked, tmp_path / "d", quiet=True)
    assert sorted(path.name for path in (tmp_path / "d" / "debian").glob("*.deb")) == [
        "a_1%3a2-1_all.deb",
        "b_3_all.deb",
    ]
    calls = log.read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["update", "b=3"]
    assert calls[1].endswith("download a=1:2-1 b=3")
    assert str(tmp_path / "d" / "debian" / "apt" / "lists") in calls[0]
    download(asked, tmp_path / "d", quiet=True)
    assert len(log.read_text().splitlines()) == 2, "what is there is not asked for again"


def test_what_a_client_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "apt-get", fails="E: Version '9' for 'a' was not found")
    with pytest.raises(NotBrought, match="Version '9' for 'a' was not found") as raised:
        download(spec("debian", ["a==9"]), tmp_path / "d", quiet=True)
    assert "notice" not in str(raised.value)
    assert not list((tmp_path / "d" / "debian").glob("*.deb"))
    assert not list((tmp_path / "d" / "debian").glob(".*")), "no draft stays"


def test_npm_packs_without_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = stand_in(tmp_path, monkeypatch, "npm")
    download(spec("npm", ["@x/y==2.1.0"]), tmp_path / "d", quiet=True)
    assert log.read_text() == "pack --loglevel=error --ignore-scripts @x/y@2.1.0\n"
    assert [path.name for path in (tmp_path / "d" / "npm").iterdir()] == ["x-y-2.1.0.tgz"]


def test_pip_takes_ready_wheels_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text(
        "import pathlib, sys\npathlib.Path('a_b-1-py3-none-any.whl').write_text(' '.join(sys.argv[1:]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    download(spec("wheel", ["A.b==1"]), tmp_path / "d", quiet=True)
    words = (tmp_path / "d" / "wheel" / "a_b-1-py3-none-any.whl").read_text().split()
    assert {"--no-deps", "--only-binary=:all:", "A.b==1"} <= set(words)
    assert words[0] == "download"


@pytest.mark.parametrize(("kind", "program"), [("debian", "apt-get"), ("npm", "npm")])
def test_a_client_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, program: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotBrought, match=f"{program}: it is not installed"):
        download(spec(kind, ["a"]), tmp_path / "d", quiet=True)
    with pytest.raises(XgenError, match="a: it is not on this machine; download it first"):
        list(documents(spec(kind, ["a"]), tmp_path / "d"))
