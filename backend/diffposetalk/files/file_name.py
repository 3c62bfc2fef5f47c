# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that every system takes, so that a folder can be carried from one to another."""

from __future__ import annotations

import unicodedata
from pathlib import Path

FORBIDDEN = '<>:"/\\|?*'
"""Characters that Windows does not take in a name."""
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def has_hidden_ends(name: str) -> bool:
    """Whether a name is empty, begins with a dot or blank or ends in one: some systems hide these or cut them off."""
    return not name or name[0] == "." or name[-1] == "." or name != name.strip()


def is_writable(character: str) -> bool:
    """Whether a character may stand in a name on every system: no control character, none of `FORBIDDEN`."""
    return character not in FORBIDDEN and unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def is_allowed(name: str) -> bool:
    """Whether no system refuses a name for its characters or because a device has it (Windows: con, nul, com1)."""
    return all(map(is_writable, name)) and name.split(".")[0].casefold() not in _DEVICES


def with_suffix(path: str | Path, suffix: str) -> Path:
    """The path, with the suffix added to its name unless it ends in that, in any case."""
    path = Path(path)
    return path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)
