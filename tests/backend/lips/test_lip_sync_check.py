# SPDX-License-Identifier: GPL-3.0-or-later
"""Closures that were expected and not reached: by phones, by transcripts, by the model's own takes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.paths import BUNDLED_HEAD, CLIP

from diffposetalk.errors import DataError
from diffposetalk.generation.batching import generate
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import load_head
from diffposetalk.lips.check import align_transcript, check_lip_sync
from diffposetalk.lips.missed_closures import (
    Mark,
    Word,
    closed_below,
    expected_closures,
    missed,
    said_closures,
)
from diffposetalk.motion.arkit import INDEX
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import load_speech

SAID = (
    "And so, my fellow Americans: ask not what your country can do for you, "
    "ask what you can do for your country."
)


@pytest.fixture(scope="module")
def face() -> FaceRegions:
    return FaceRegions(load_head(BUNDLED_HEAD))


def talking(
    closures: list[float], seconds: float = 4.0, fps: float = 25.0, closed: float = 0.0
) -> MotionClip:
    """A jaw that is open, but for 80 ms at the given times."""
    times = np.arange(int(seconds * fps)) / fps
    near = np.min([np.abs(times - t) for t in closures] + [np.full(len(times), 9.0)], axis=0)
    opened = np.clip((near - 0.04) / 0.08, closed, 1)
    pose = np.zeros((len(times), 6), np.float32)
    pose[:, 3] = 0.2 * opened
    return MotionClip(np.zeros((len(times), 50), np.float32), pose, fps, "arkit")


PHONES = [("M", 0.96, 1.04), ("AA1", 1.04, 1.96), ("b", 1.96, 2.04), ("AH0", 2.04, 2.9), ("P", 2.96, 3.04)]


def check_phones(face: FaceRegions, clip: MotionClip, phones: list, words: list = ()) -> list[Mark]:
    return missed(face, clip, said_closures(clip, phones, words))


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_missed_closures_are_marked_where_they_are(face: FaceRegions, fps: float) -> None:
    assert check_phones(face, talking([1.0, 2.0, 3.0], fps=fps), PHONES) == []
    words = [Word("ma", 0.9, 1.9), Word("bap", 1.9, 3.1)]
    [mark] = check_phones(face, talking([1.0, 3.0], fps=fps), PHONES, words)
    assert (mark.phone, mark.word, mark.confidence) == ("B", "bap", 1.0)
    assert mark.start <= mark.frame < mark.stop and abs(mark.frame / fps - 2.0) <= 0.1
    assert mark.gap_mm > mark.limit_mm > 0 and "B" in mark.reason and "bap" in mark.reason
    half_closed = check_phones(face, talking([1.0, 2.0, 3.0], closed=0.5), PHONES)
    assert [m.phone for m in half_closed] == ["M", "B", "P"]


def test_a_mouth_that_hardly_opens_is_not_marked(face: FaceRegions) -> None:
    clip = talking([])
    clip.pose[:, 3] = 1e-4
    assert check_phones(face, clip, PHONES) == []
    assert closed_below(np.zeros(10)) > 0


def test_takes_that_agree_expect_a_closure() -> None:
    times = np.arange(150) / 25

    def gap(*closures: float) -> np.ndarray:
        near = np.min([np.abs(times - t) for t in closures] + [np.full(len(times), 9.0)], axis=0)
        return 0.01 * np.clip((near - 0.04) / 0.08, 0, 1)

    gaps = np.stack([gap(1.0, 2.0, 4.0), gap(1.04, 2.0), gap(1.0, 2.0), gap(0.96, 2.0), gap(1.0)])
    expected = expected_closures(gaps)
    assert [round(e.frames.start / 25 + 0.04, 2) for e in expected] == [1.0, 2.0]
    assert [e.confidence for e in expected] == [1.0, 0.8]
    pause = np.where((times > 2) & (times < 4), 0.0, 0.01)[None].repeat(5, axis=0)
    assert expected_closures(pause) == []
    assert expected_closures(np.zeros((5, 150))) == []


def test_words_and_phones_of_a_transcript() -> None:
    pytest.importorskip("pocketsphinx")
    words, phones = align_transcript(CLIP, SAID)
    assert [w.text for w in words][:5] == ["and", "so", "my", "fellow", "americans"]
    assert len(words) == 22 and all(a.stop <= b.start + 1e-6 for a, b in pairwise(words))
    assert 0 < words[0].start < 1 and words[-1].stop <= load_speech(CLIP).seconds
    spoken = [symbol for symbol, *_ in phones if symbol != "SIL"]
    assert spoken[1:3] == ["N", "D"] and spoken.count("M") == 2
    with pytest.raises(DataError) as caught:
        align_transcript(CLIP, "xyzzyx")
    assert caught.value.kind == "data_transcript"


def test_closures_by_transcript_and_by_the_models_takes(tmp_path: Path, face: FaceRegions) -> None:
    """A take of the model with its mouth held open is marked; by the transcript on every M, P and B."""
    pytest.importorskip("pocketsphinx")
    model = load_model(device="cpu")
    style = next(iter(model.styles))
    [take] = generate(model, load_speech(CLIP, 0, 3.2), style=model.styles[style].vector, seeds=[9])
    held = MotionClip(take.exp.copy(), take.pose.copy(), 25.0, "arkit")
    held.pose[:, 3] = np.maximum(held.pose[:, 3], 0.5 * take.pose[:, 3].max())
    held.exp[:, INDEX["mouthClose"]] = 0
    motion = held.save(tmp_path / "held.npz")
    said = SAID.split(":")[0]
    by_transcript = check_lip_sync(CLIP, motion, None, audio_seconds=3.2, transcript=said, head=BUNDLED_HEAD)
    assert by_transcript["source"] == "transcript" and len(by_transcript["words"]) == 5
    assert {mark["phone"] for mark in by_transcript["marks"]} <= {"M", "B", "P"}
    assert len(by_transcript["marks"]) == 2  # my, Americans
    progress: list[str] = []
    by_model = check_lip_sync(
        CLIP,
        motion,
        model,
        audio_seconds=3.2,
        style={"preset": style},
        head=BUNDLED_HEAD,
        on_progress=lambda stage, done, total: progress.append(stage),
    )
    assert by_model["source"] == "model" and "motion" in progress
    assert by_model["marks"] and all(mark["confidence"] >= 0.8 for mark in by_model["marks"])


def test_phones_that_are_none(tmp_path: Path) -> None:
    motion = talking([1.0]).save(tmp_path / "a.npz")
    for phones in (
        [["M", 1.0]],
        [["M", "soon", 2.0]],
        [["M", 2.0, 1.0]],
        [["M", -1.0, 1.0]],
        [["M", float("nan"), 1.0]],
    ):
        with pytest.raises(DataError) as caught:
            check_lip_sync(CLIP, motion, None, phones=phones, head=BUNDLED_HEAD)
        assert caught.value.kind == "data_phones"
