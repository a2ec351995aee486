"""A package's own statement of its licence, as an identifier in the manner of SPDX (spdx.org/licenses).

Three kinds of statements are read: the machine-readable debian/copyright (its format 1.0), the fields of a
wheel's METADATA and of package.json, and the text of a licence file. A text that names no licence we know
gives "", and "" keeps a document out of a corpus.
"""

import email.parser
import email.policy
import json
import re
from collections import Counter
from collections.abc import Iterable

MAX_NAMED = 4  # licences of one package that are named; "AND-OTHERS" stands for more
_HEAD_CHARACTERS = 200_000

# Short names in use -> SPDX. What is not here keeps its name; "+" means "or any later version".
_NAMES = {
    **{"expat": "MIT", "mit": "MIT", "mit/x11": "MIT", "x11": "X11", "mit license": "MIT"},
    **{"mit-license": "MIT", "the mit license": "MIT", "the mit license (mit)": "MIT", "mit-style": "MIT"},
    **{
        "apache": "Apache-2.0",
        "apache-2": "Apache-2.0",
        "apache 2": "Apache-2.0",
        "apache 2.0": "Apache-2.0",
    },
    **{"apache-2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache2": "Apache-2.0"},
    **{"apache software license": "Apache-2.0", "apache license, version 2.0": "Apache-2.0"},
    **{"apache license version 2.0": "Apache-2.0", "apache software license 2.0": "Apache-2.0"},
    **{"bsd": "BSD", "bsd license": "BSD", "new bsd": "BSD-3-Clause", "modified bsd": "BSD-3-Clause"},
    **{"bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause"},
    **{"bsd 2-clause": "BSD-2-Clause", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause"},
    **{"bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause"},
    **{
        "new bsd license": "BSD-3-Clause",
        "3-clause bsd license": "BSD-3-Clause",
        "bsd-2-clauses": "BSD-2-Clause",
    },
    **{"2-clause bsd": "BSD-2-Clause", "apache software": "Apache-2.0", "zope public": "ZPL-2.1"},
    **{"bsd-3-clauses": "BSD-3-Clause", "2-clause bsd license": "BSD-2-Clause", "bsd3": "BSD-3-Clause"},
    **{"isc": "ISC", "isc license": "ISC", "isc license (iscl)": "ISC", "psf": "PSF-2.0", "psfl": "PSF-2.0"},
    **{"psf-2": "PSF-2.0", "psf-2.0": "PSF-2.0", "python software foundation license": "PSF-2.0"},
    **{"mpl-2.0": "MPL-2.0", "mpl-2": "MPL-2.0", "mpl 2.0": "MPL-2.0", "zpl 2.1": "ZPL-2.1"},
    **{"mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "unlicense": "Unlicense", "0bsd": "0BSD"},
    **{"the unlicense (unlicense)": "Unlicense", "mit no attribution license (mit-0)": "MIT-0"},
    **{"public-domain": "public-domain", "public domain": "public-domain", "pd": "public-domain"},
    **{
        "cc0": "CC0-1.0",
        "cc0-1.0": "CC0-1.0",
        "artistic": "Artistic-1.0-Perl",
        "zlib": "Zlib",
        "wtfpl": "WTFPL",
    },
    **{
        "zope public license": "ZPL-2.1",
        "academic free license (afl)": "AFL-3.0",
        "artistic-2": "Artistic-2.0",
    },
    **{"historical permission notice and disclaimer (hpnd)": "HPND", "hpnd": "HPND", "mit-0": "MIT-0"},
    **{"boost": "BSL-1.0", "boost software license 1.0": "BSL-1.0", "postgresql": "PostgreSQL"},
}
_GNU = re.compile(r"(?i)(A?GPL|LGPL|GFDL)(-NIV)?[-v ]*(\d(?:\.\d)*)?(\+)?")
_CREATIVE = re.compile(r"(?i)CC[- ](BY(?:-(?:SA|NC|ND))*)[- ]?v?(\d(?:\.\d)?)?")
# A statement that is none, and what is stated but not open: such a package stays out.
_NOT_STATED = {
    "",
    "unknown",
    "see license",
    "see license file",
    "other/proprietary license",
    "license",
    "other",
}
_NOT_OPEN = re.compile(r"(?i)\bUNLICENSED\b|^SEE LICENSE|proprietary|non-?commercial|-NC\b|-ND\b|no ?deriv")

# Phrases that only that licence's text, or a reference to it, has; the first of a family wins.
_TEXTS: tuple[tuple[str, str], ...] = (
    ("AGPL", r"gnu affero general public licen[sc]e"),
    ("GFDL", r"gnu free documentation licen[sc]e|common-licenses/gfdl"),
    ("LGPL", r"gnu (?:lesser|library) general public licen[sc]e|common-licenses/lgpl"),
    ("GPL", r"gnu general public licen[sc]e|common-licenses/gpl|\bgpl\b"),
    ("MPL-2.0", r"mozilla public licen[sc]e,? (?:version|v\.?) ?2\.0|common-licenses/mpl-2\.0"),
    ("Apache-2.0", r"apache licen[sc]e,?\s*(?:version |v)?2\.0|common-licenses/apache-2\.0"),
    ("CC", r"creative commons (?:attribution|legal code|cc)|creativecommons\.org/licenses/by"),
    ("CC0-1.0", r"cc0 1\.0 universal|creativecommons\.org/publicdomain/zero"),
    ("Artistic-2.0", r"the artistic license 2\.0"),
    ("Artistic-1.0-Perl", r"\"?artistic license\"?|common-licenses/artistic"),
    ("Unlicense", r"this is free and unencumbered software released into the public domain"),
    (
        "ISC",
        r"permission to use, copy, modify, and/?(?:or)? distribute this software for any purpose with",
    ),
    ("Linux-man-pages-copyleft", r"permission is granted to make and distribute verbatim copies of"),
    ("MIT", r"permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("BSL-1.0", r"boost software license - version 1\.0"),
    ("PSF-2.0", r"python software foundation license version 2"),
    ("Zlib", r"this software is provided 'as-is', without any express or implied warranty\. in no event"),
    ("BSD", r"redistributions? (?:and use )?in source and binary forms,? with or without modification"),
    ("public-domain", r"\b(?:is|are|placed|released|put) (?:in|into|to) the public domain\b|^public domain"),
)


def identifier(name: str) -> str:
    """The identifier of a licence by one of its usual names; "" where the name states none.

    `identifier("GPL-2+")` is "GPL-2.0-or-later"; an expression ("MIT OR Apache-2.0") keeps its form, and
    a single word that we do not know is taken for an identifier.
    """
    name = " ".join(name.split()).strip(" .,;")
    if name.lower() in _NOT_STATED:
        return ""
    if known := _known(name):
        return known
    parts = [part for part in re.split(r"(?i)\s+(and/or|and|or|with)\s+|\s*([()|/&,])\s*", name) if part]
    words = [_joiner(part) or _known(part) or part for part in parts]
    if len(parts) > 12 or any(" " in word for word in words):
        return licence_of(name)
    return " ".join(words).replace("( ", "(").replace(" )", ")")


def is_open(licence: str) -> bool:
    """Whether a licence lets anyone use, change and sell what it covers, as far as its name says."""
    return bool(licence) and not _NOT_OPEN.search(licence)


def licence_of(text: str) -> str:
    """The licences that a text contains or refers to, joined by AND; "" if none is recognised."""
    text = " ".join(text[:_HEAD_CHARACTERS].replace("*", " ").replace("#", " ").lower().split())
    found = [_with_version(name, text) for name, phrase in _TEXTS if re.search(phrase, text)]
    return _joined(dict.fromkeys(found))


def debian_licence(copyright: str) -> str:
    """The licences of a package by its debian/copyright, that of most of its files first.

    Read by the machine-readable format 1.0, section "Files paragraph"; else as a text that names licences.
    """
    if not re.match(r"(?i)\s*format(?:-specification)?:", copyright):
        return licence_of(copyright)
    names: Counter[str] = Counter()
    for paragraph in re.split(r"\n\s*\n", copyright):
        files = re.search(r"(?im)^files:[ \t]*(.*(?:\n[ \t].*)*)", paragraph)
        stated = re.search(r"(?im)^license:[ \t]*(.*)", paragraph)
        globs = files[1].split() if files else []
        if stated and globs and not globs[0].startswith("debian/"):  # that is the packaging
            names[identifier(stated[1])] += 1_000 if globs[0] == "*" else 1
    del names[""]
    return _joined(name for name, _ in names.most_common()) or licence_of(copyright)


def wheel_licence(metadata: str, licence_files: Iterable[str]) -> str:
    """The licence of a wheel: its License-Expression, classifiers, License field, else its licence files."""
    fields = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(metadata)
    if expression := fields.get("License-Expression"):
        return identifier(str(expression))
    classes = [str(line).split(" :: ") for line in fields.get_all("Classifier", [])]
    named = [parts[-1] for parts in classes if parts[0] == "License" and len(parts) > 2]
    by_class = _joined(dict.fromkeys(filter(None, map(identifier, named))), " OR ")
    if by_class and by_class != "BSD":
        return by_class
    field = str(fields.get("License", "")).strip()
    stated = licence_of(field) if "\n" in field or field.startswith("Copyright") else identifier(field)
    if stated and stated != "BSD":
        return stated
    return _joined(dict.fromkeys(filter(None, map(licence_of, licence_files)))) or by_class or stated


def npm_licence(package_json: str, licence_files: Iterable[str]) -> str:
    """The licence of an npm package: package.json's `license` (or the old `licenses`), else its files."""
    try:
        package = json.loads(package_json)
    except ValueError:
        package = {}
    stated = package.get("license", package.get("licenses")) if isinstance(package, dict) else None
    entries = stated if isinstance(stated, list) else [stated]
    names = [entry.get("type") if isinstance(entry, dict) else entry for entry in entries]
    found = _joined((identifier(name) for name in names if isinstance(name, str)), " OR ")
    return found or _joined(dict.fromkeys(filter(None, map(licence_of, licence_files))))


def _joiner(part: str) -> str:
    joiners = {"|": "OR", "/": "OR", "or": "OR", "and/or": "OR", "and": "AND", "&": "AND", ",": "AND"}
    return part if part in "()" else joiners.get(part.lower(), "WITH" if part.lower() == "with" else "")


def _known(name: str) -> str:
    """The identifier of one licence that we know by this name, else ""."""
    plain = re.sub(r"\b(?:the|licen[sc]e|version|software licen[sc]e)\b|,", " ", name.lower())
    for key in (name.lower(), " ".join(plain.split())):
        if key in _NAMES:
            return _NAMES[key]
    if found := _GNU.fullmatch(name):
        family, invariants, version, later = found.groups()
        if version is None:
            return family.upper()
        number = version if "." in version else f"{version}.0"
        middle = "-no-invariants" if invariants else ""
        return f"{family.upper()}-{number}{middle}-{'or-later' if later else 'only'}"
    if found := _CREATIVE.fullmatch(name):
        return "-".join(filter(None, ("CC", found[1].upper(), found[2])))
    return ""


def _with_version(name: str, text: str) -> str:
    """What a text says of the version: "GPL" and "version 2 ... or any later version" -> GPL-2.0-or-later."""
    if name == "BSD":
        clauses = "neither the name" in text or "may not be used to endorse" in text
        return "BSD-3-Clause" if clauses else "BSD-2-Clause"
    if name == "CC":
        found = re.search(r"licenses/(by(?:-[a-z]{2})*)/(\d\.\d)", text)
        if found:
            return f"CC-{found[1].upper()}-{found[2]}"
        kind = re.search(r"attribution(.{0,30}?)(\d\.\d)", text)
        words = kind[1] if kind else text[:2_000]
        shares = "".join(
            f"-{s}" for w, s in (("noncomm", "NC"), ("nod", "ND"), ("alike", "SA")) if w in words
        )
        return f"CC-BY{shares}{f'-{kind[2]}' if kind else ''}"
    if name not in ("GPL", "LGPL", "AGPL", "GFDL"):
        return name
    words = {"GPL": "general public", "LGPL": "general public", "AGPL": "affero", "GFDL": "documentation"}[
        name
    ]
    near = re.search(rf"{words} licen[sc]e.{{0,120}}?v(?:ersion )?(\d(?:\.\d)?)", text)
    listed = re.search(rf"common-licenses/{name.lower()}-(\d(?:\.\d)?)", text)
    version = near or listed
    later = "+" if re.search(r"any later version|or later|or \(at your option\)", text) else ""
    return _known(f"{name}-{version[1]}{later}") if version else name


def _joined(names: Iterable[str], word: str = " AND ") -> str:
    """Names with `word` between them, no name twice; those in excess of `MAX_NAMED` are said to be there."""
    kept = list(dict.fromkeys(filter(None, names)))
    bare = [f"({name})" if " " in name and len(kept) > 1 else name for name in kept[:MAX_NAMED]]
    return word.join(bare) + (f"{word}OTHERS" if len(kept) > MAX_NAMED else "")
