import re

import pytest

from xgen.data.licences import debian_licence, identifier, is_open, licence_of, npm_licence, wheel_licence

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software ..."
BSD = "Redistribution and use in source and binary forms, with or without modification, are permitted ..."


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-3", "GPL-3.0-only"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("GFDL-1.3+", "GFDL-1.3-or-later"),
        ("GFDL-NIV-1.2", "GFDL-1.2-no-invariants-only"),
        ("AGPL-3+", "AGPL-3.0-or-later"),
        ("GPL", "GPL"),
        ("Expat", "MIT"),
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache 2.0 License", "Apache-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("2-clause BSD", "BSD-2-Clause"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("CC-BY-SA-3.0", "CC-BY-SA-3.0"),
        ("cc by-nc 4.0", "CC-BY-NC-4.0"),
        ("CC0-1.0", "CC0-1.0"),
        ("public-domain", "public-domain"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("Apache-2.0 AND MIT", "Apache-2.0 AND MIT"),
        ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0-Perl"),
        ("(MIT OR CC0-1.0)", "(MIT OR CC0-1.0)"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("MIT-CMU", "MIT-CMU"),
        ("UNKNOWN", ""),
        ("", ""),
        ("see the file for what may be done", ""),
    ],
)
def test_usual_names_become_identifiers(name: str, spdx: str) -> None:
    assert identifier(name) == spdx


def test_law_an_identifier_stays_what_it_is() -> None:
    """Those of the SPDX list that our packages state."""
    stated = "MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC PSF-2.0 MPL-2.0 GPL-2.0-or-later GPL-3.0-only"
    for name in [
        *stated.split(),
        "CC-BY-SA-4.0",
        "CC-BY-4.0",
        "CC0-1.0",
        "Unlicense",
        "Zlib",
        "0BSD",
        "ZPL-2.1",
    ]:
        assert identifier(name) == name


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (MIT, "MIT"),
        (BSD, "BSD-2-Clause"),
        (BSD + " Neither the name of the authors may ...", "BSD-3-Clause"),
        ("Licensed under the Apache License, Version 2.0 (the ...", "Apache-2.0"),
        (
            "under the terms of the GNU General Public License, version 2 or (at your option)\n any later",
            "GPL-2.0-or-later",
        ),
        ("the GNU Free Documentation License, Version 1.3 or any later version", "GFDL-1.3-or-later"),
        ("found in /usr/share/common-licenses/LGPL-2.1.", "LGPL-2.1-only"),
        ("see https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-NonCommercial 3.0", "CC-BY-NC-3.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 License", "CC-BY-SA-3.0"),
        ("These texts are in the public domain.", "public-domain"),
        (
            "This is free and unencumbered software released into the public domain.",
            "Unlicense AND public-domain",
        ),
        (f"{MIT}\n{BSD}", "MIT AND BSD-2-Clause"),
        ("All rights reserved.", ""),
        ("", ""),
    ],
)
def test_texts_of_licences_are_recognised(text: str, spdx: str) -> None:
    assert licence_of(text) == spdx
    wrapped = re.sub(r"(\S+ \S+) ", r" * \1\n", text)
    assert licence_of(wrapped) == spdx


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pellet

Files: *
Copyright: 2020 A. Baker
License: {main}

Files: help/*
 docs/*
Copyright: 2021 The writers
License: CC-BY-SA-3.0

Files: debian/*
Copyright: 2022 A packager
License: GPL-3+

License: {main}
 The text of it.
"""


def test_a_machine_readable_copyright_of_debian() -> None:
    assert debian_licence(COPYRIGHT.format(main="GPL-2+")) == "GPL-2.0-or-later AND CC-BY-SA-3.0"
    assert (
        debian_licence(COPYRIGHT.format(main="GPL-2+ or MIT")) == "(GPL-2.0-or-later OR MIT) AND CC-BY-SA-3.0"
    )


def test_many_licences_are_not_all_named_but_said_to_be_there() -> None:
    files = "".join(f"\n\nFiles: {i}/*\nLicense: L-{i}" for i in range(6))
    stated = debian_licence(f"Format: x\n\nFiles: *\nLicense: MIT{files}")
    assert stated.startswith("MIT AND ")
    assert stated.endswith(" AND OTHERS")
    assert stated.count("AND") == 4


def test_an_old_copyright_of_debian_is_read_as_a_text() -> None:
    old = (
        "It was packaged by somebody.\n\nLicense: see /usr/share/common-licenses/GPL-2, or any later version"
    )
    assert debian_licence(old) == "GPL-2.0-or-later"
    assert debian_licence("It was packaged by somebody.") == ""


@pytest.mark.parametrize(
    ("metadata", "files", "spdx"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: nonsense", [], "MIT OR Apache-2.0"),
        ("Classifier: License :: OSI Approved :: MIT License\nLicense: BSD", [], "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License", [BSD + " neither the name"], "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: BSD License", [], "BSD"),
        ("Classifier: License :: OSI Approved", [MIT], "MIT"),
        ("License: Apache 2.0", [], "Apache-2.0"),
        (f"License: Copyright 2020\n        {MIT}", [], "MIT"),
        ("License: UNKNOWN", [], ""),
        ("Name: x", [], ""),
    ],
)
def test_what_a_wheel_states(metadata: str, files: list[str], spdx: str) -> None:
    assert (
        wheel_licence(f"Metadata-Version: 2.1\n{metadata}\n\nThe MIT License is described here.", files)
        == spdx
    )


@pytest.mark.parametrize(
    ("package", "files", "spdx"),
    [
        ('{"license": "MIT"}', [], "MIT"),
        ('{"license": {"type": "ISC", "url": "x"}}', [], "ISC"),
        ('{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0-or-later"}]}', [], "MIT OR GPL-2.0-or-later"),
        ('{"name": "x"}', [MIT], "MIT"),
        ('{"license": "UNLICENSED"}', [], "UNLICENSED"),
        ('{"license": 3}', [], ""),
        ("[]", [], ""),
        ("{", [], ""),
    ],
)
def test_what_an_npm_package_states(package: str, files: list[str], spdx: str) -> None:
    assert npm_licence(package, files) == spdx


def test_what_is_not_open_stays_out() -> None:
    assert all(map(is_open, ["MIT", "GPL-2.0-or-later AND CC-BY-SA-3.0", "Vim", "public-domain"]))
    closed = ["", "UNLICENSED", "CC-BY-NC-4.0", "CC-BY-ND-3.0", "SEE LICENSE IN x", "Proprietary"]
    assert not any(map(is_open, closed))
