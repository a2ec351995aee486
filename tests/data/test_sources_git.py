"""Documents out of git repositories: git itself, asked to write what was committed, is the stranger."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources.git import MAX_FILE, documents, download
from xgen.data.sources.objects import BadRepository, Blob, contents, fetch_commit, files_of, has_commit

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"


def git(folder: Path, *words: str, data: bytes | None = None) -> bytes:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **{
            f"GIT_{who}_{what}": "1970-01-01T00:00:00Z" if what == "DATE" else "x@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL", "DATE")
        },
        "HOME": str(folder),
    }
    done = subprocess.run(["git", *words], cwd=folder, env=environment, input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(folder: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> str:
    """A new repository at `folder` with one commit of these files; the commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for path, target in (links or {}).items():
        (folder / path).symlink_to(target)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "files")
    return git(folder, "rev-parse", "HEAD").decode().strip()


def source(commit: str, **more: object) -> SourceSpec:
    known: dict[str, object] = {"name": "books", "kind": "git", "set": "book", "language": "de"}
    known |= {"url": "https://example.org/anna/books", "licence": "MIT", "commit": commit, "format": "text"}
    return SourceSpec(**{**known, **more})  # type: ignore[arg-type]


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


def read(spec: SourceSpec, tmp_path: Path, mirror: Path | None) -> list[Document | Rejected]:
    return list(documents(spec, tmp_path / "downloads", mirror))


FILES = {
    "LICENSE": MIT.encode(),
    "de/b.txt": b"Ein Fluss ist lang.",
    "de/a.txt": b"Es war einmal.",
    "fr/a.txt": "Il était une fois.".encode(),
    "notes/ä ö.txt": b"Mit Leerzeichen.",
}


def test_files_come_from_the_commit_and_not_from_the_folder(tmp_path: Path, mirror: Path) -> None:
    folder = mirror / "anna" / "books"
    commit = committed(folder / "work", FILES)
    (folder / "work" / "de" / "a.txt").write_text("changed")
    (folder / "work" / "de" / "c.txt").write_text("new")
    (folder / "work" / ".git").rename(folder / "store")
    for name in (folder / "store").iterdir():
        name.rename(folder / name.name)
    found = read(source(commit, take=("*.txt",), leave=("notes/*",)), tmp_path, mirror)
    assert [(doc.id, doc.text) for doc in found if isinstance(doc, Document)] == [
        (f"anna/books@{commit[:12]}:de/a.txt", "Es war einmal."),
        (f"anna/books@{commit[:12]}:de/b.txt", "Ein Fluss ist lang."),
        (f"anna/books@{commit[:12]}:fr/a.txt", "Il était une fois."),
    ]
    assert {doc.licence for doc in found if isinstance(doc, Document)} == {"MIT"}
    assert read(source(commit, take=("*.txt",), leave=("notes/*",)), tmp_path, mirror) == found


@pytest.fixture
def bare(tmp_path: Path, mirror: Path) -> tuple[Path, str]:
    """A mirror MIRROR/anna/books.git, as `git clone --mirror` makes it, and its commit."""
    commit = committed(tmp_path / "origin", FILES, links={"de/link.txt": "a.txt", "out.txt": "/etc/passwd"})
    (mirror / "anna").mkdir(parents=True)
    git(mirror, "clone", "--quiet", "--mirror", str(tmp_path / "origin"), "anna/books.git")
    return mirror / "anna" / "books.git", commit


def test_the_path_tells_the_language_where_the_recipe_does_not(
    tmp_path: Path, mirror: Path, bare: tuple[Path, str]
) -> None:
    spec = source(bare[1], language="", languages=("fr", "de"), take=("*/?.txt",))
    assert [(doc.language, doc.id[-8:]) for doc in read(spec, tmp_path, mirror)] == [
        ("de", "de/a.txt"),
        ("de", "de/b.txt"),
        ("fr", "fr/a.txt"),
    ]


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("pages.pt_BR/common/x.md", "pt"),
        ("translations/zh-CN/1/README.md", "zh"),
        ("translations/en/it/README.md", ""),
        ("pages/common/x.md", ""),
    ],
)
def test_languages_by_path(path: str, language: str) -> None:
    from xgen.data.sources.git import language_in

    assert language_in(path, ("pt", "zh", "it")) == language


def test_a_choice_of_nothing_is_told(tmp_path: Path, mirror: Path, bare: tuple[Path, str]) -> None:
    with pytest.raises(BadRepository, match="chooses none of the 7 files"):
        read(source(bare[1], take=("*.tyt",)), tmp_path, mirror)


def test_links_are_not_followed(tmp_path: Path, mirror: Path, bare: tuple[Path, str]) -> None:
    found = read(source(bare[1], take=("*.txt",)), tmp_path, mirror)
    assert [(doc.reason, doc.id[-8:]) for doc in found if isinstance(doc, Rejected)] == [
        ("link_not_followed", "link.txt"),
        ("link_not_followed", ":out.txt"),
    ]


def test_a_licence_is_the_repositorys_own_or_the_recipes_or_nothing_is_read(
    tmp_path: Path, mirror: Path, bare: tuple[Path, str]
) -> None:
    own = read(source(bare[1], licence="", take=("de/a.txt",)), tmp_path, mirror)
    assert [doc.licence for doc in own if isinstance(doc, Document)] == ["MIT"]
    stated = source(bare[1], licence="CC-BY-SA-4.0", take=("de/a.txt",))
    said = read(stated, tmp_path, mirror)
    assert [doc.licence for doc in said if isinstance(doc, Document)] == ["CC-BY-SA-4.0"]
    commit = committed(tmp_path / "m2" / "anna" / "books", {"a.txt": b"Text"})
    store = tmp_path / "m2" / "anna" / "books"
    (store / ".git").rename(tmp_path / "m2" / "anna" / "books.git")
    none = read(source(commit, licence=""), tmp_path, tmp_path / "m2")
    assert [doc.reason for doc in none if isinstance(doc, Rejected)] == ["no_licence_stated"]
    assert len(none) == 1


def test_what_is_missing_or_too_large_is_named(tmp_path: Path, mirror: Path) -> None:
    files = {
        "a.txt": b"Text eins",
        "b.txt": b"Text zwei",
        "c.txt": b" " * (MAX_FILE + 1),
        "d.tei": b"\xff\xfe\x00",
    }
    commit = committed(mirror / "anna" / "work", files)
    store = mirror / "anna" / "books.git"
    (mirror / "anna" / "work" / ".git").rename(store)
    sha = next(blob.sha for blob in files_of(store, commit) if blob.path == "b.txt")
    (store / "objects" / sha[:2] / sha[2:]).unlink()
    found = read(source(commit, take=("*.txt",)), tmp_path, mirror)
    assert [doc.reason if isinstance(doc, Rejected) else doc.text for doc in found] == [
        "Text eins",
        "not_in_the_store",
        "file_too_large",
    ]
    (bad,) = read(source(commit, take=("d.tei",), format="tei"), tmp_path, mirror)
    assert isinstance(bad, Rejected)
    assert bad.reason == "cannot_be_read"
    with contents(store) as content, pytest.raises(BadRepository, match="missing or damaged"):
        content(Blob("b.txt", sha, 9))


def test_a_cap_samples_the_same_files_everywhere(tmp_path: Path, mirror: Path) -> None:
    commit = committed(mirror / "anna" / "work", {f"{i}.txt": b"x" * 1000 for i in range(40)})
    (mirror / "anna" / "work" / ".git").rename(mirror / "anna" / "books")
    found = read(source(commit, max_mb_per_package=0.01), tmp_path, mirror)
    kept = [doc.id for doc in found if isinstance(doc, Document)]
    assert len(kept) == 10
    assert {doc.reason for doc in found if isinstance(doc, Rejected)} == {"over_package_cap"}
    assert len(found) == 40
    larger = read(source(commit, max_mb_per_package=0.02), tmp_path, mirror)
    assert set(kept) < {doc.id for doc in larger if isinstance(doc, Document)}


def test_a_commit_is_fetched_once_and_nothing_of_the_repository_runs(tmp_path: Path) -> None:
    origin = tmp_path / "anna" / "books"
    commit = committed(
        origin, {**FILES, ".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% /x\n'}
    )
    spec = source(commit, url=origin.as_uri(), take=("de/*",))
    download(spec, tmp_path / "downloads", None, quiet=True)
    assert [doc.text for doc in read(spec, tmp_path, None)] == ["Es war einmal.", "Ein Fluss ist lang."]
    (store,) = (tmp_path / "downloads" / "git" / "anna").iterdir()
    assert not (store / "hooks").exists()
    (origin / ".git").rename(tmp_path / "gone")  # the second time nobody is asked
    download(spec, tmp_path / "downloads", None, quiet=True)
    assert has_commit(store, commit)


def test_an_older_commit_can_be_had(tmp_path: Path) -> None:
    origin = tmp_path / "anna" / "books"
    commit = committed(origin, {"a.txt": b"alt"})
    (origin / "a.txt").write_text("neu")
    git(origin, "commit", "--quiet", "--all", "--message", "more")
    spec = source(commit, url=origin.as_uri())
    download(spec, tmp_path / "downloads", None, quiet=True)
    assert [doc.text for doc in read(spec, tmp_path, None)] == ["alt"]


@pytest.mark.parametrize(
    ("url", "commit", "says"),
    [
        ("https://host/../books", "0" * 40, "not the address"),
        ("ext::sh -c 'touch /tmp/x'/a/b", "0" * 40, "not the address"),
        ("--upload-pack=touch", "0" * 40, "not the address"),
        ("ssh://host/a/b", "0" * 40, "not the address"),
        ("", "0" * 40, "not the address"),
        ("https://example.org/a/b", "main", "is not one"),
        ("https://example.org/a/b", "", "is not one"),
        ("file:///nowhere/a/b", "0" * 40, "git failed"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_a_sentence(
    tmp_path: Path, url: str, commit: str, says: str
) -> None:
    with pytest.raises(BadRepository, match=says) as caught:
        download(source(commit, url=url), tmp_path, None, quiet=True)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("HEAD"))


def test_a_commit_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, bare: tuple[Path, str]) -> None:
    spec = source("1" * 40, url=bare[0].as_uri())
    with pytest.raises(BadRepository, match="git failed"):
        download(spec, tmp_path / "downloads", None, quiet=True)
    with pytest.raises(BadRepository, match="not on this machine; download it first"):
        read(spec, tmp_path, None)


def test_without_git_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadRepository, match="not installed"):
        fetch_commit("https://example.org/a/b", "0" * 40, tmp_path / "store")


def test_variables_of_a_hook_that_we_run_in_do_not_count(
    tmp_path: Path, mirror: Path, bare: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    assert len(read(source(bare[1], take=("de/a.txt",)), tmp_path, mirror)) == 1


LETTERS = st.characters(codec="utf-8", exclude_characters="\0/\n", exclude_categories=["Cs"])
NAMES = st.text(LETTERS, min_size=1, max_size=8).filter(lambda name: name not in {".", "..", ".git"})


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=200), min_size=1))
def test_every_file_of_a_commit_is_read_back_byte_by_byte(tmp_path_factory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("law")
    git(folder, "init", "--quiet", "--bare")
    shas = {
        name: git(folder, "hash-object", "-w", "--stdin", data=data).strip() for name, data in files.items()
    }
    lines = (b"100644 blob " + sha + b"\t" + name.encode() for name, sha in shas.items())
    tree = git(folder, "mktree", "-z", data=b"\0".join(lines)).decode().strip()
    commit = git(folder, "commit-tree", tree, "-m", "x").decode().strip()
    with contents(folder) as content:
        blobs = list(files_of(folder, commit))
        assert {blob.path: content(blob) for blob in blobs} == files
        assert all(blob.size == len(files[blob.path]) for blob in blobs)
