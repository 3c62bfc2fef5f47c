# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as a site."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .environments import environment
from .paths import ROOT, SITE
from .processes import checked, clean_environment


def build_site(cache: Path) -> None:
    """Build docs/ and the pages that it leads to into `SITE`, with references read from the code.

    Raises:
        BuildError: a page has an error, or a link leads nowhere; they are printed.
    """
    python = environment(cache, "docs")
    shutil.rmtree(SITE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="diffposetalk-docs-") as private:
        options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "docs"), "-d", private]
        checked(
            [str(python), "-B", "-m", "sphinx", *options, str(ROOT), str(SITE)],
            clean_environment(),
        )
