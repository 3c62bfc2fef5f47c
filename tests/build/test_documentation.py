# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages say what is there: links, files, buttons, messages and modules; and no code on them is left untested."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import lru_cache

import pytest
from support.code_blocks import FENCE, code_blocks, pages
from support.paths import ROOT

PAGES = pages()
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(#[^)\s]*)?\)")
TESTED_KINDS = {
    "text",  # nothing that runs
    "shell",  # tests/backend
    "python backend",
    "toml recipe",
    "csv manifest",
    "csv recordings",
    "json rpc",
    "python blender",  # tests/addon
    "python flame",
    "python video",
    "python alignment",
    "csv blender-batch",
    "json mapping",
}
ADDON_PAGES = ["install", "first_animation", "styles", "directing", "characters"]
LABEL_PAGES = [*ADDON_PAGES, "flame_and_checkpoints", "troubleshooting"]
BLENDERS_OWN = {
    "Edit",
    "Preferences",
    "Get Extensions",
    "Install from Disk",
    "System",
    "Allow Online Access",
    "File Paths",
    "Temporary Files",
    "Window",
    "Toggle System Console",
    "Playback",
    "Sync to Audio",
}
NOT_OURS = {
    "demo_output/",
    "dist/",
    "build/site",
    "train/",
    "validation/",
    "test/",
}  # made later, or the user's


@lru_cache
def strings_of(folder: str) -> str:
    """All constant strings in the Python files of a folder, one a line; what is put into them is a gap."""
    found = []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    links = [match[1] for match in LINK.finditer(FENCE.sub("", PAGES[page])) if match[1]]
    missing = [link for link in links if not (folder / link).exists()]
    assert not missing


def test_results_of_benchmarks_have_titles() -> None:
    results = list((ROOT / "benchmarks" / "results").glob("*.md"))
    assert results and not [r.name for r in results if not r.read_text(encoding="utf-8").startswith("# ")]


def test_every_block_of_code_is_of_a_kind_that_is_tested() -> None:
    fences = {page: len(re.findall(r"^ *```", text, re.MULTILINE)) for page, text in PAGES.items()}
    blocks = {page: 2 * len(FENCE.findall(text)) for page, text in PAGES.items()}
    assert fences == blocks  # each opens with its language
    assert len(code_blocks()) > 30
    assert not [f"{block}: {block.kind}" for block in code_blocks() if block.kind not in TESTED_KINDS]


def test_messages_of_troubleshooting_are_messages_of_the_code() -> None:
    said = " ".join((strings_of("blender_addon") + strings_of("backend/diffposetalk")).split())
    messages = re.findall(r"^\*\*(.+)\*\*$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    assert len(messages) > 20
    for message in messages:
        for piece in re.split("…", message):
            assert piece.strip(" .") in said, message


@pytest.mark.parametrize("page", ADDON_PAGES)
def test_buttons_and_panels_that_pages_name_are_there(page: str) -> None:
    names = re.findall(r"(?<!\*)\*\*([A-Z+][^*\n]*)\*\*", PAGES[f"docs/{page}.md"])
    known = strings_of("blender_addon") + "\nN\nSpace\nTab\n+"
    lines = {line.strip().removesuffix(":") for line in known.splitlines()} | {"Set Up Backend"}
    assert not [name for name in names if not set(name.split(" ▸ ")) <= lines]


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_pages_name_are_there(page: str) -> None:
    text = FENCE.sub("", PAGES[page])
    named = {name for name in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9.]*)+)`", text) if name not in NOT_OURS}
    places = [ROOT, ROOT / "backend" / "diffposetalk", ROOT / "blender_addon", ROOT / "tests"]
    missing = [
        n for n in named if not any((place / f"{n}{end}").exists() for place in places for end in ("", ".py"))
    ]
    assert not missing


def test_modules_that_how_it_works_names_are_there() -> None:
    cells = re.findall(r"^\|.*\|$", PAGES["docs/how_it_works.md"], re.MULTILINE)
    backend = ROOT / "backend" / "diffposetalk"
    named = {
        name for cell in cells for name in re.findall(r"`([a-z_0-9/.]+)`", cell) if name != "person_frames"
    } - {"differences"}
    assert len(named) > 25
    for name in named:
        assert any(path.exists() for path in (backend / f"{name}.py", backend / name, ROOT / name)), name


@pytest.mark.parametrize("page", LABEL_PAGES)
def test_labels_that_pages_name_are_there(page: str) -> None:
    names = re.findall(r"(?<!\*)\*([A-Z][^*\n]*)\*(?!\*)", FENCE.sub("", PAGES[f"docs/{page}.md"]))
    known = {line.strip().removesuffix(":") for line in strings_of("blender_addon").splitlines()}
    assert not [name for name in names if not set(name.split(" ▸ ")) <= known | BLENDERS_OWN]


def test_classes_and_tables_that_the_map_names_are_there() -> None:
    folders = (ROOT / "blender_addon", ROOT / "backend" / "diffposetalk")
    code = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    named = set(re.findall(r"`([A-Z]\w+)`", PAGES["docs/code_map.md"]))
    assert len(named) > 5
    assert not [name for name in named if not re.search(rf"^(class )?{name}\b", code, re.MULTILINE)]


def test_environment_variables_that_pages_name_are_read() -> None:
    named = set(re.findall(r"DIFFPOSETALK_[A-Z]+(?:_[A-Z]+)*", "\n".join(PAGES.values())))
    read = strings_of("blender_addon") + strings_of("backend/diffposetalk")
    assert len(named) > 5 and not [name for name in named if name not in read]


def test_commands_of_the_build_script_are_its_commands() -> None:
    said = subprocess.run(
        [sys.executable, str(ROOT / "build_addon.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    named = re.findall(r"build_addon\.py (\w+)", "\n".join(PAGES.values()))
    assert set(named) >= {"package", "demo", "test", "docs"}
    assert not [name for name in named if not re.search(rf"\b{name}\b", said)]
