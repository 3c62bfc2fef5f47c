# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation as a site: `python build_addon.py docs`.

The references are read from the code, which is not run but for the parsers of the command line.
"""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "backend"), str(Path(__file__).parent / "extensions")]

from diffposetalk import __version__  # noqa: E402

project = "DiffPoseTalk for Blender"
author = "DiffPoseTalk for Blender contributors"
project_copyright = "DiffPoseTalk for Blender contributors, GPL-3.0-or-later"
version = release = __version__

extensions = ["myst_parser", "command_line", "error_messages", "from_source"]
# Pages stand where they belong: beside the model, the benchmarks and the changelog, too.
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "benchmarks/results/*.md",
    "flame_assets/model/MODEL_CARD.md",
    "README.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "dist", "demo_output", "backend", "blender_addon", "tests"]
myst_heading_anchors = 4
smartquotes = False  # “--style” is no dash
command_line_stand_ins = ["torch", "scipy", "soundfile", "soxr", "smplx", "safetensors", "transformers"]
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"DiffPoseTalk for Blender {version}"
html_extra_path = ["site"]  # its index.html leads to docs/index.html
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Sphinx) -> None:
    """Show tables (csv) as plain text."""
    app.add_lexer("csv", TextLexer)
