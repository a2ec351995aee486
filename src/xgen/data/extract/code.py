"""Source code: the file as it is, in the language its name says. Its quality is judged by the filters."""

from pathlib import PurePosixPath

from xgen.errors import BadDocument

LANGUAGES = {
    **{"py": "py", "pyx": "py", "pyi": "py", "js": "js", "mjs": "js", "cjs": "js", "jsx": "js"},
    **{"ts": "ts", "mts": "ts", "cts": "ts", "tsx": "ts", "svelte": "js", "go": "go", "rs": "rs"},
    **{"c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "cxx": "cpp", "hh": "cpp", "hpp": "cpp", "hxx": "cpp"},
    **{"java": "java", "pl": "perl", "pm": "perl", "tcl": "tcl", "rb": "ruby", "sh": "sh", "sql": "sql"},
    **{"hs": "haskell", "lua": "lua", "r": "r", "el": "lisp", "scm": "lisp", "rkt": "lisp", "jl": "julia"},
}  # suffix: the language's name in a set's name ("code.py"); perl, not pl, which is Polish


def code_language(path: str) -> str | None:
    """The programming language of a file by its suffix; None if it is none that we know."""
    name = PurePosixPath(path).name
    if name.endswith(".d.ts"):  # declarations are printed by a compiler
        return None
    return LANGUAGES.get(name.rpartition(".")[2].lower()) if "." in name else None


def extract_code(data: bytes) -> str:
    """The text of a source file, which must be UTF-8; BadDocument if it is not."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadDocument(
            "code", f"it is not UTF-8 at byte {error.start}", "save it again as UTF-8"
        ) from error
