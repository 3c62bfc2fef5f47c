# SPDX-License-Identifier: GPL-3.0-or-later
"""The ablations of the paper's Table 1, trained and measured: does each move the metrics as the paper found?

Six small networks (`ablations.toml`) are trained alike but for what is left out, each from random weights on the same
set, and measured on the tracked speaker's validation clips in the style of another recording of the same speaker.
What was trained or measured already in the work folder is not done again.

python benchmarks/ablations.py DATA --set FOLDER --work FOLDER [--iterations N] [--clips 60] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from diffposetalk.evaluate.paper_table import COLUMNS, TABLE_1
from diffposetalk.evaluate.reported_figures import BY_KEY
from diffposetalk.train.recipe import read_recipe

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "ablations.toml"
PAPER_ROWS = {
    "all": "Ours",
    "no-geometric-losses": "Ours w/o L_geo",
    "no-alignment-mask": "Ours w/o AM",
    "no-guidance": "Ours w/o CFG",
    "no-style-encoder": "Ours w/o SSE",
    "no-head-pose": "Ours (no HP)",
}
"""What is left out: the paper's name of it."""
SHOWN = (*COLUMNS[:4], "closure", "opening", "opening_correlation")
"""Metrics of the table: those of the paper that one run has, and articulation."""


def main() -> None:
    """Train, measure and write `ablations.md`."""
    parser = argparse.ArgumentParser(description="The ablations of Table 1.")
    parser.add_argument("data", type=Path, help="corpus of the tracked speaker (grid_s1)")
    parser.add_argument(
        "--set", type=Path, required=True, help="training set (diffposetalk train prepare-bundled)"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and models")
    parser.add_argument("--iterations", type=int, help="of each denoiser (default: the recipe's)")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    iterations = arguments.iterations or read_recipe(str(RECIPE)).denoiser.iterations
    found = {name: _measured(name, iterations, arguments) for name in PAPER_ROWS}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "ablations.md").write_text(_page(found, iterations, arguments), encoding="utf-8")


def _measured(name: str, iterations: int, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Figures (mean and half-width) of a network, by metric."""
    work = arguments.work / name
    figures = work / "figures.json"
    if not figures.is_file():
        left_out = [] if name == "all" else ["--ablation", name]
        # The style encoder sees what the denoiser moves: without head pose, it needs one of its own.
        style = work if name == "no-head-pose" else arguments.work / "all"
        training = ["--config", str(RECIPE), "--set", str(arguments.set)]
        _diffposetalk("train", "style", *training, *(left_out if style == work else []), "--work", str(style))
        _diffposetalk(
            *("train", "denoiser", *training, *left_out, "--work", str(work)),
            *("--style", str(style / "style"), "--iterations", str(iterations)),
        )
        folders = ["--work", str(work), "--set", str(arguments.set)]
        _diffposetalk("train", "export", *folders, "--out", str(work / "model"))
        _diffposetalk(
            *(
                "evaluate",
                str(arguments.data),
                "--model",
                str(work / "model"),
                "--clips",
                str(arguments.clips),
            ),
            *("--runs", str(arguments.runs), "--long-seconds", "0", "--json", str(figures)),
            *(("--style", "none") if name == "no-style-encoder" else ("--style", "speaker")),
            *(("--no-head-pose",) if name == "no-head-pose" else ()),
        )
    corpora = json.loads(figures.read_text(encoding="utf-8"))["corpora"]
    subjects = next(iter(corpora.values()))["subjects"]
    return next(s["figures"] for subject, s in subjects.items() if subject != "recorded")


def _diffposetalk(*arguments: str) -> None:
    print("diffposetalk", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "diffposetalk", *arguments], check=True)


def _page(
    found: dict[str, dict[str, dict[str, float]]], iterations: int, arguments: argparse.Namespace
) -> str:
    whole = found["all"]
    shown = [key for key in SHOWN if key in whole]
    titles = [
        f"{BY_KEY[key].title} ({BY_KEY[key].unit})" if BY_KEY[key].unit else BY_KEY[key].title
        for key in shown
    ]
    lines = [
        "# The ablations of Table 1",
        "",
        f"Six small networks (`benchmarks/ablations.toml`), {iterations} iterations each from random weights, on",
        f"{arguments.clips} validation clips of the tracked speaker, {arguments.runs} runs (mean ± 95 %).",
        "",
        f"| left out | {' | '.join(titles)} |",
        f"| --- |{' --- |' * len(shown)}",
    ]
    for name, figures in found.items():
        lines.append(
            f"| {PAPER_ROWS[name]} | {' | '.join(_printed(figures.get(key), key) for key in shown)} |"
        )
    lines += [
        "",
        "Each against the whole network, beside the paper's: worse or better by more than both intervals, else even.",
        "",
        f"| left out | {' | '.join(BY_KEY[key].title for key in COLUMNS[:4])} |",
        f"| --- |{' --- |' * 4}",
    ]
    paper = {method: cells for rows in TABLE_1.values() for method, cells in rows.items()}
    for name, figures in found.items():
        if name == "all":
            continue
        cells = []
        for column, key in enumerate(COLUMNS[:4]):
            here = _direction(whole.get(key), figures.get(key), key)
            there = _direction(_read(paper["Ours"][column]), _read(paper[PAPER_ROWS[name]][column]), key)
            cells.append("—" if "—" in (here, there) else f"{here} (paper: {there})")
        lines.append(f"| {PAPER_ROWS[name]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _direction(whole: dict[str, float] | None, without: dict[str, float] | None, key: str) -> str:
    """Whether leaving something out made a figure worse or better."""
    if not whole or not without or whole["mean"] is None or without["mean"] is None:
        return "—"
    change = without["mean"] - whole["mean"]
    if abs(change) <= (whole["half_width"] or 0) + (without["half_width"] or 0):
        return "even"
    return "worse" if (change > 0) == (BY_KEY[key].better == "lower") else "better"


def _read(cell: str) -> dict[str, float] | None:
    """A printed cell of the paper's table."""
    try:
        mean, _, half = cell.partition("±")
        return {"mean": float(mean), "half_width": float(half or 0)}
    except ValueError:
        return None


def _printed(value: dict[str, float] | None, key: str) -> str:
    if not value or value["mean"] is None:
        return "—"
    scale = 100 if BY_KEY[key].percent else 1
    half = f" ± {value['half_width'] * scale:.2g}" if value["half_width"] else ""
    return f"{value['mean'] * scale:.3g}{half}"


if __name__ == "__main__":
    main()
