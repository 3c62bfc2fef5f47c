# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether references lead to their own style, and styles to what they say: the measures of style references.

    python benchmarks/style_references.py DATA --tracker face_landmarker.task --work DIR

DATA is a corpus with tracked lips (GRID speaker 1). Twenty manners of speaking are drawn; each performs recorded lips
three times. Two performances give its own style; the third is the reference: as motion, and as a video of the head,
rendered and tracked again. Videos stay in DIR, and are not rendered twice. Writes results/style_references.md.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch

from diffposetalk.config import FPS
from diffposetalk.evaluate.references import read_references
from diffposetalk.generation.batching import generate_lines
from diffposetalk.generation.line import Line
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.head import render
from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.motion.arkit import EXPRESSIONS
from diffposetalk.motion.clip import MotionClip, from_vectors, to_vectors
from diffposetalk.motion.dynamics import head_amplitude
from diffposetalk.networks.checkpoint import bundled_model_path, load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.speech.encoder import SAMPLES_PER_FRAME
from diffposetalk.sound.audio import load_speech
from diffposetalk.styles import read_style
from diffposetalk.styles.description import measure_style
from diffposetalk.styles.mixing import mix_styles
from diffposetalk.tracking.arkit_motion import stretches
from diffposetalk.tracking.face_map import face_shape, read_rest_face
from diffposetalk.tracking.face_track import track_face
from diffposetalk.tracking.performance import joined
from diffposetalk.train.own_model.performance import draw_factors, perform
from diffposetalk.train.own_model.prosody import analyse
from diffposetalk.train.own_model.sequences import join

STYLES, TAKES = 20, 3
OWN_FRAMES, REFERENCE_FRAMES = 250, 125
SIDE = 400
"""Pixels of a rendered video's height."""
RESULTS = Path(__file__).parent / "results" / "style_references.md"


def performances(data: Path, head: HeadModel, seed: int) -> list[list[MotionClip]]:
    """Takes of each of some manners of speaking, over recorded lips that no training has seen."""
    [spoken] = read_references(data, head, limit=60).values()
    rng = np.random.default_rng(seed)
    styles = []
    for _ in range(STYLES):
        factors, takes = draw_factors(rng), []
        for _ in range(TAKES):
            lips: list[np.ndarray] = []
            sound: list[np.ndarray] = []
            for index in rng.permutation(len(spoken)):
                reference = spoken[index]
                if reference.motion is None:
                    continue
                samples = reference.samples()
                frames = min(len(reference.motion), len(samples) // SAMPLES_PER_FRAME)
                lips.append(to_vectors(reference.motion, 54)[:frames])
                sound.append(samples[: frames * SAMPLES_PER_FRAME])
                if sum(map(len, lips)) >= OWN_FRAMES:
                    break
            motion = join(lips)
            prosody = analyse(np.concatenate(sound), len(motion))
            made = perform(motion[:, :50], motion[:, 53], prosody, factors, rng)[:OWN_FRAMES]
            exp, pose = from_vectors(made)
            takes.append(MotionClip(exp, pose, FPS, "arkit", None, EXPRESSIONS))
        takes[-1] = replace(
            takes[-1], exp=takes[-1].exp[:REFERENCE_FRAMES], pose=takes[-1].pose[:REFERENCE_FRAMES]
        )
        styles.append(takes)
    return styles


def render_video(path: Path, clip: MotionClip, head: HeadModel) -> Path:
    """The clip on the head, from the front, as a video; left as it is where it is there."""
    if path.is_file():
        return path
    part = path.with_name("part-" + path.name)
    render.SUPERSAMPLING = 1
    with av.open(str(part), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = round(SIDE * render.ASPECT), SIDE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for first in range(0, len(clip), 20):
            frames = range(first, min(first + 20, len(clip)))
            for picture in render.render_frames(head, clip.exp, clip.pose, frames, SIDE, view_yaw=0.0):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.rename(path)
    return path


def nearest_own(references: torch.Tensor, own: torch.Tensor) -> float:
    """Share of reference styles (N, S) whose nearest (cosine) among `own` (N, S) is their own."""
    a, b = (torch.nn.functional.normalize(v, dim=1) for v in (references, own))
    return float(((a @ b.T).argmax(dim=1) == torch.arange(len(a))).float().mean())


def style(model: DiffPoseTalk, clips: Sequence[MotionClip]) -> torch.Tensor:
    """The mean style of clips, each over all its windows."""
    return torch.stack([read_style(model, clip, "mean").vector for clip in clips]).mean(dim=0)


def rest_clip() -> MotionClip:
    """A second of the resting face."""
    return MotionClip(np.zeros((25, 50), np.float32), np.zeros((25, 6), np.float32), FPS)


def spoken(model: DiffPoseTalk, vectors: Sequence[torch.Tensor], seeds: int) -> list[list[MotionClip]]:
    """The bundled recording said in each style."""
    speech = load_speech(next((bundled_model_path().parent / "clips").glob("*.flac")))
    lines = [Line(speech, GenerationOptions(tuple(range(seeds))), vector) for vector in vectors]
    made = dict(generate_lines(model, lines))
    return [made[index] for index in range(len(lines))]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="Measure styles from references.")
    parser.add_argument("data", type=Path, help="corpus with tracked lips")
    parser.add_argument("--tracker", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the rendered videos")
    parser.add_argument("--model", type=Path, help="model directory (default: the bundled one)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only-render", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    head = load_head()
    takes = performances(arguments.data, head, arguments.seed)
    front = render.front_of(head)
    rest = render_video(arguments.work / "rest.mp4", rest_clip(), front)
    videos = [
        render_video(arguments.work / f"{arguments.seed}-{index:02d}.mp4", clips[-1], front)
        for index, clips in enumerate(takes)
    ]
    print(f"{len(videos)} videos rendered", flush=True)
    if arguments.only_render:
        return
    model = load_model(arguments.model, "cpu")
    own = torch.stack([style(model, clips[:-1]) for clips in takes])
    rows = [
        (
            "nearest its own style among 20, from the motion",
            f"{100 * nearest_own(torch.stack([style(model, c[-1:]) for c in takes]), own):.0f} %",
        )
    ]
    at_rest, began, frames = read_rest_face(rest, arguments.tracker), time.perf_counter(), 0
    found: dict[str, list[torch.Tensor]] = {"without a picture at rest": [], "with a picture at rest": []}
    for video in videos:
        track = track_face(video, arguments.tracker, shape=face_shape)
        frames += len(track.times)
        for vectors, picture in zip(found.values(), (None, at_rest), strict=True):
            vectors.append(style(model, [joined(stretches(track, head, picture))]))
    rate = frames / (time.perf_counter() - began)
    for name, vectors in found.items():
        share = 100 * nearest_own(torch.stack(vectors), own)
        rows.append((f"… from the rendered video, {name}", f"{share:.0f} %"))
    rows.append(("frames a second tracked, everything included, one process", f"{rate:.0f}"))
    rows.append(
        (
            "memory of that process at most",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB",
        )
    )
    rows += mixing(model, head) + doubling(model, takes)
    text = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
    print(text)
    RESULTS.write_text(
        f"# Styles from references\n\nOf {model.config.name}, by `{Path(sys.argv[0]).name}`.\n\n{text}\n",
        encoding="utf-8",
    )


def mixing(model: DiffPoseTalk, head: HeadModel, seeds: int = 4) -> list[tuple[str, str]]:
    """Whether figures go from one style's to the other's as the mixture does."""
    presets = {key: spoken(model, [s.vector], 2)[0] for key, s in model.styles.items()}
    rows = []
    for name in ("mouth_opening", "head_amplitude"):
        figures = {key: float(getattr(measure_style(clips, head), name)) for key, clips in presets.items()}
        low, high = min(figures, key=lambda k: figures[k]), max(figures, key=lambda k: figures[k])
        pair = [model.styles[low].vector, model.styles[high].vector]
        amounts = (0.0, 0.25, 0.5, 0.75, 1.0)
        said = spoken(model, [mix_styles(pair, [1 - t, t]) for t in amounts], seeds)
        steps = [float(getattr(measure_style(clips, head), name)) for clips in said]
        rises = all(b > a for a, b in pairwise(steps))
        label = name.replace("_", " ")
        shown = ", ".join(f"{value:.2f}" for value in steps)
        rows.append(
            (
                f"{label} from “{low}” to “{high}” at 0, ¼, ½, ¾, 1",
                f"{shown} ({'monotone' if rises else 'not monotone'})",
            )
        )
    return rows


def doubling(
    model: DiffPoseTalk, takes: Sequence[Sequence[MotionClip]], references: int = 6
) -> list[tuple[str, str]]:
    """What twice the head motion in a reference does to the head of the output."""
    plain = [clips[0] for clips in takes[:references]]
    doubled = []
    for clip in plain:
        pose = clip.pose.copy()
        pose[:, :3] = pose[:, :3].mean(axis=0) + 2 * (pose[:, :3] - pose[:, :3].mean(axis=0))
        doubled.append(replace(clip, pose=pose))
    vectors = [style(model, [clip]) for clip in (*plain, *doubled)]
    said = spoken(model, vectors, 2)
    amplitude = [float(np.mean([head_amplitude(c.pose[:, :3]) for c in clips])) for clips in said]
    ratios = [b / a for a, b in zip(amplitude[:references], amplitude[references:], strict=True)]
    more = sum(ratio > 1.05 for ratio in ratios)
    return [
        (
            "twice the head motion in a reference: head amplitude of the output",
            f"{np.mean(ratios):.2f} times, more in {more} of {references}",
        )
    ]


if __name__ == "__main__":
    main()
