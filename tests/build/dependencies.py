# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's packages as they are installed: versions, licences and what needs what.

To write the list for people anew, in the backend's environment: python tests/build/dependencies.py > FILE,
where FILE is docs/dependencies.md.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.paths import ROOT

BACKEND = ROOT / "backend"
REQUIREMENTS = {
    "backend": "requirements.txt",
    "video": "requirements-tracking.txt",
    "words": "requirements-alignment.txt",
}

# Identifiers of SPDX. All may be used and passed on beside a program under the GPL, of which they are no part.
ALLOWED = frozenset(
    (
        *(
            "MIT",
            "MIT-0",
            "MIT-CMU",
            "0BSD",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "ISC",
            "Zlib",
            "BSL-1.0",
            "CC0-1.0",
        ),
        *(
            "Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "PSF-2.0",
            "CNRI-Python",
            "MPL-2.0",
            "LGPL-2.1-or-later",
        ),
    )
)
KNOWN_OTHERS = {"smplx": "MPI, non-commercial research (see README)"}
"""Packages with a licence that is allowed for them alone."""

_WORDS = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True)
class Package:
    """A pinned package: the environment's version, the licence that it states, and its own requirements here.

    needs: without those for which it prescribes the one version itself, as PyTorch does for CUDA's libraries.
    """

    name: str
    pinned: str
    installed: str
    licence: str
    needs: tuple[str, ...]
    part: str


def packages() -> list[Package]:
    """All pinned packages, by name.

    Raises:
        importlib.metadata.PackageNotFoundError: one is not installed.
    """
    found = []
    for part, file in REQUIREMENTS.items():
        for line in (BACKEND / file).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                name, _, version = line.partition("==")
                found.append(_package(name, version, part))
    return sorted(found, key=lambda package: package.name)


def _package(name: str, pinned: str, part: str) -> Package:
    metadata = importlib.metadata.metadata(name)
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    here = [
        need.name
        for need in needs
        if (need.marker is None or need.marker.evaluate({"extra": ""})) and "==" not in str(need.specifier)
    ]
    installed = Version(metadata["Version"]).public
    return Package(name, pinned, installed, licence(name), tuple(map(canonicalize_name, here)), part)


def licence(name: str) -> str:
    """The licence of an installed package as an expression of SPDX; empty where it states none that is known."""
    if name in KNOWN_OTHERS:
        return KNOWN_OTHERS[name]
    metadata = importlib.metadata.metadata(name)
    if metadata["License-Expression"]:
        return str(metadata["License-Expression"])
    classifiers = metadata.get_all("Classifier") or []
    stated = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License")]
    stated = [text for text in stated if text != "OSI Approved"] or [metadata["License"] or ""]
    return " AND ".join(_WORDS.get(text, text) for text in stated)


def is_allowed(name: str, expression: str) -> bool:
    """Whether a package may be used under its licence."""
    if name in KNOWN_OTHERS:
        return expression == KNOWN_OTHERS[name]
    terms = [term.strip(" ()") for term in re.split(r" (?:AND|OR) ", expression)]
    return all(term in ALLOWED for term in terms)


def unpinned() -> set[str]:
    """What a pinned package needs here and no file pins."""
    found = packages()
    pinned = {canonicalize_name(package.name) for package in found}
    return {need for package in found for need in package.needs} - pinned


def as_markdown() -> str:
    """The list for people."""
    rows = [
        "# Packages of the backend",
        "",
        "Written by `tests/build/dependencies.py` from the packages' own metadata; a test sees that it is up to date,",
        "that these versions are the ones that are installed and tested, that nothing they need is left out, and that",
        "every licence is one of a list. *video* and *words* are what **Install Video Tracking** and **Install Word",
        "Alignment** add.",
        "",
        "| package | version | licence | part |",
        "| --- | --- | --- | --- |",
    ]
    rows += [f"| {p.name} | {p.pinned} | {p.licence} | {p.part} |" for p in packages()]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
