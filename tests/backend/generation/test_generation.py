# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows, takes, seeds and lengths, on a small model with random weights."""

from __future__ import annotations

import gc
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.made_recordings import speech
from support.paths import BUNDLED_MODEL
from support.waiting import PATIENCE

from diffposetalk.config import SAMPLERS, ModelConfig
from diffposetalk.errors import Cancelled, DeviceError, DiffPoseTalkError, ModelError
from diffposetalk.generation.batching import generate, generate_lines
from diffposetalk.generation.line import Line
from diffposetalk.generation.options import GenerationOptions as Options
from diffposetalk.motion.channel_groups import channels_of
from diffposetalk.motion.clip import to_vectors
from diffposetalk.networks.checkpoint import load_model, read_config
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.prepared_denoiser import PreparedWindow
from diffposetalk.sound.audio import SpeechAudio


@pytest.mark.parametrize("seconds", [0.1, 1.0, 4.0, 4.04, 9.3])
def test_any_length(model: DiffPoseTalk, seconds: float):
    [clip] = generate(model, speech(seconds), style=None, seeds=[0])
    assert len(clip) == max(1, int(seconds * 25 + 1e-6))
    assert clip.exp.min() >= 0 and clip.exp.max() <= 1
    assert clip.provenance["synthetic"] is True and clip.provenance["seed"] == 0


def test_a_seed_gives_the_same_take_alone_and_beside_others(model: DiffPoseTalk):
    style = torch.randn(16)
    [alone] = generate(model, speech(5), style=style, seeds=[7])
    several = generate(model, speech(5), style=style, seeds=[3, 7, 11])
    assert np.allclose(alone.exp, several[1].exp, atol=1e-5)
    assert np.allclose(alone.pose, several[1].pose, atol=1e-5)
    assert np.abs(several[0].exp - several[1].exp).mean() > 1e-3


def test_nothing_of_a_generation_waits_for_the_collector_of_cycles(model: DiffPoseTalk):
    """That one counts objects, not their size, and rarely comes by: in a backend tensors would pile up for it."""

    def tensors() -> int:
        for thread in threading.enumerate():
            if thread.name.startswith("speech"):
                thread.join()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    def told(*_: object) -> None:
        pass

    generate(model, speech(1), style=None, seeds=[0])
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        for seconds in (1, 9):
            generate(model, speech(seconds), style=None, seeds=[0, 1], on_progress=told, on_window=told)
            assert tensors() == before
        with pytest.raises(Cancelled):
            generate(model, speech(9), style=None, seeds=[0], on_progress=told, cancelled=lambda: True)
        assert tensors() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_windows_stream_as_they_finish(model: DiffPoseTalk, sampler: str):
    seen: list[tuple[int, int, int]] = []
    progress: list[tuple[str, int, int]] = []
    clips = generate(
        model,
        speech(9),
        style=None,
        seeds=[0, 1],
        sampler=sampler,
        on_window=lambda take, start, clip: seen.append((take, start, len(clip))),
        on_progress=lambda *p: progress.append(p),
    )
    assert seen == [(0, 0, 100), (1, 0, 100), (0, 100, 100), (1, 100, 100), (0, 200, 25), (1, 200, 25)]
    motion = [p for p in progress if p[0] == "motion"]
    assert motion[-1][1] == motion[-1][2] and [p[1] for p in motion] == sorted(p[1] for p in motion)
    assert progress[0][0] == "speech" and len(clips) == 2


@pytest.mark.parametrize("filtered", [0, 9, 25])
@pytest.mark.parametrize("seconds", [0.3, 4.0, 4.1, 8.2, 13.0])
def test_streamed_frames_are_final(model: DiffPoseTalk, filtered: int, seconds: float):
    """Together they are the take, bit for bit, although the head's filter reaches over the ends of windows."""
    before = model.config
    model.config = replace(
        before, sampling=replace(before.sampling, smooth_head=filtered, join_head=25, join_face=5)
    )
    told: dict[int, list[tuple[int, np.ndarray]]] = {0: [], 1: []}
    try:
        clips = generate(
            model,
            speech(seconds),
            style=None,
            seeds=[0, 1],
            on_window=lambda take, first, clip: told[take].append((first, np.hstack([clip.exp, clip.pose]))),
        )
    finally:
        model.config = before
    for take, clip in enumerate(clips):
        firsts = [first for first, _ in told[take]]
        assert firsts == np.cumsum([0, *(len(frames) for _, frames in told[take])])[:-1].tolist()
        assert np.array_equal(np.concatenate([f for _, f in told[take]]), np.hstack([clip.exp, clip.pose]))
        assert len(told[take]) == math.ceil(len(clip) / 100)


def test_the_next_window_continues_the_previous_one():
    """The second window sees the first: another first window gives another second one from the same noise."""
    model = load_model(device="cpu")
    audio = speech(8)
    other = SpeechAudio(audio.samples.copy(), 16_000, 1, 8.0, "", "")
    other.samples[: 3 * 16_000] *= 0.01
    a, b = (generate(model, s, style=None, seeds=[0])[0] for s in (audio, other))
    assert np.abs(a.exp[100:] - b.exp[100:]).max() > 1e-3


def test_without_head_pose(model: DiffPoseTalk):
    [clip] = generate(model, speech(2), style=None, seeds=[0], head_pose=False)
    assert not clip.pose[:, :3].any() and clip.pose[:, 3].any()


def test_style_and_guidance_matter(model: DiffPoseTalk):
    style = torch.randn(16) * 5

    def take(**settings: object) -> np.ndarray:
        return generate(model, speech(3), seeds=[0], **settings)[0].exp  # type: ignore[arg-type]

    plain = take(style=None)
    assert np.abs(plain - take(style=style)).max() > 1e-4
    assert np.abs(take(style=style) - take(style=style, style_guidance=0.5)).max() > 1e-4
    assert np.abs(plain - take(style=None, speech_guidance=4.0)).max() > 1e-4


def test_groups_of_channels_have_their_own_guidance():
    """More for the head changes the head at once, and in the first window nothing else of the network's one step."""
    model = load_model(device="cpu")
    plain = replace(model.config.sampling, added_guidance={}, join_face=0, join_head=0, smooth_head=0)
    motion = []
    for added in ({}, {"head": 1.0}, {"head": 1.0, "brows": 0.5}):
        model.config = replace(model.config, sampling=replace(plain, added_guidance=added))
        [take] = generate(model, speech(4), seeds=[1], steps=1)
        motion.append(to_vectors(take, 54))
    head, brows = (channels_of([group], "arkit", 54) for group in ("head", "brows"))
    changed = np.abs(motion[1] - motion[0]).max(axis=0)
    assert (changed[head] > 1e-4).all() and not changed[~head].any()
    changed = np.abs(motion[2] - motion[1]).max(axis=0)
    assert changed[brows].any() and not changed[~brows].any()


@pytest.mark.parametrize(
    ("added", "message"),
    [({"hair": 0.5}, "hair.*none of its groups"), ({"head": 30.0}, "head"), ({"head": "much"}, "added")],
)
def test_a_model_with_guidance_that_cannot_be_is_refused(tmp_path, added, message):
    config = json.loads((BUNDLED_MODEL / "config.json").read_text(encoding="utf-8"))
    config["sampling"]["added_guidance"] = added
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_config(tmp_path)


def test_takes_differ_less_in_the_lips_at_a_low_temperature():
    """Head and brows go on differing; with no noise left in the lips, only what follows those does."""
    model = load_model(device="cpu")
    lips = channels_of(["lips"], "arkit", 54)

    def spread(temperature: float) -> np.ndarray:
        sampling = replace(model.config.sampling, lips_temperature=temperature)
        model.config = replace(model.config, sampling=sampling)
        takes = generate(model, speech(4), style=None, seeds=[0, 1, 2, 3], steps=6)
        return np.stack([to_vectors(take, 54) for take in takes]).std(axis=0).mean(axis=0)

    calm, free = spread(0.2), spread(1.0)
    assert calm[lips].mean() < 0.7 * free[lips].mean()
    assert calm[~lips].mean() > 0.8 * free[~lips].mean()
    with pytest.raises(ModelError, match="lips_temperature"):
        broken = replace(model.config, sampling=replace(model.config.sampling, lips_temperature=1.5))
        ModelConfig.from_dict(broken.to_dict())


def test_cancel_stops_between_steps(model: DiffPoseTalk):
    steps: list[int] = []

    def on_progress(stage: str, done: int, total: int) -> None:
        if stage == "motion":
            steps.append(done)

    with pytest.raises(Cancelled):
        generate(
            model,
            speech(30),
            style=None,
            seeds=[0],
            on_progress=on_progress,
            cancelled=lambda: len(steps) >= 6,
        )
    assert steps == [1, 2, 3, 4, 5, 6]


def test_cancel_does_not_wait_for_a_slow_encoder(model: DiffPoseTalk, monkeypatch: pytest.MonkeyPatch):
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(samples: np.ndarray, frames: int, on_chunk: object = None) -> Iterator[torch.Tensor]:
        begun.set()
        release.wait(PATIENCE)
        ended.set()
        yield torch.zeros(frames, model.speech_encoder.feature_dim)

    monkeypatch.setattr(model.speech_encoder, "features", slow)
    with pytest.raises(Cancelled):
        generate(model, speech(3), style=None, seeds=[0], cancelled=begun.is_set)
    assert begun.is_set() and not ended.is_set()
    release.set()


def test_errors_of_the_encoder_reach_the_caller(model: DiffPoseTalk, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> Iterator[torch.Tensor]:
        raise DiffPoseTalkError("the encoder is broken", "broken")
        yield torch.zeros(0)

    monkeypatch.setattr(model.speech_encoder, "features", broken)
    with pytest.raises(DiffPoseTalkError) as caught:
        generate(model, speech(3), style=None, seeds=[0])
    assert caught.value.kind == "broken"


@pytest.mark.parametrize(
    "settings",
    [
        {"seeds": []},
        {"seeds": [-1]},
        {"seeds": [0], "sampler": "euler"},
        {"seeds": [0], "steps": 10_000},
        {"seeds": [0], "speech_guidance": -1.0},
        {"seeds": [0], "style_guidance": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused(model: DiffPoseTalk, settings: dict):
    with pytest.raises(DiffPoseTalkError):
        generate(model, speech(1), style=None, **settings)


def test_lines_run_side_by_side_as_they_would_alone(model: DiffPoseTalk):
    """Different lengths, styles, guidance and takes in one batch, with more lines than there is room for."""
    style = torch.randn(16, generator=torch.Generator().manual_seed(4))
    lines = [
        Line(speech(9), Options((1,)), style),
        Line(speech(1), Options((2, 3))),
        Line(speech(13), Options((4,), style_guidance=1.0), style * 3),
        Line(speech(5), Options((5,), speech_guidance=2.0)),
        Line(speech(4), Options(tuple(range(10, 17))), style),  # more takes than rows
        Line(speech(0.2), Options((6,), head_pose=False), style),
        Line(speech(5), Options((7,), steps=3)),  # not in one batch with the others
    ]
    small = replace(model.compute, rows=4)
    windows: dict[tuple[int, int], list[int]] = {}
    model.compute, before = small, model.compute
    try:
        finished = dict(
            generate_lines(
                model,
                iter(lines),
                on_window=lambda line, take, first, clip: windows.setdefault((line, take), []).append(first),
            )
        )
    finally:
        model.compute = before
    assert sorted(finished) == list(range(len(lines)))
    for index, line in enumerate(lines):
        for take, seed in enumerate(line.options.seeds):
            [alone] = generate(model, line.audio, line.options, style=line.style, seeds=[seed])
            together = finished[index][take]
            assert together.provenance["seed"] == seed
            assert np.allclose(alone.exp, together.exp, atol=1e-5)
            assert np.allclose(alone.pose, together.pose, atol=1e-5)
            assert windows[index, take] == list(range(0, len(alone), 100))


def test_lines_are_read_as_there_is_room_for_them(model: DiffPoseTalk):
    """A long manifest is not read at once."""
    read = 0

    def manifest() -> Iterator[Line]:
        nonlocal read
        for seed in range(100):
            read += 1
            yield Line(speech(0.2), Options((seed,)))

    results = generate_lines(model, manifest())
    next(results)
    assert read <= model.compute.rows + 1
    results.close()


@pytest.mark.parametrize("rows_that_fit", [1, 3])
@pytest.mark.parametrize("sampler", ["unipc", "ddpm"])
def test_smaller_batches_when_memory_runs_out(
    model: DiffPoseTalk, monkeypatch: pytest.MonkeyPatch, rows_that_fit: int, sampler: str
):
    lines = [
        Line(speech(seconds), Options(seeds, sampler=sampler))
        for seconds, seeds in ((5, (1, 2, 3)), (9, (4,)), (2, (5,)))
    ]
    expected = dict(generate_lines(model, lines))
    plain = PreparedWindow.__call__
    failures = 0

    def limited(self: PreparedWindow, motion: torch.Tensor, step: int) -> torch.Tensor:
        nonlocal failures
        if len(motion) > rows_that_fit and step < 10:  # in the middle of a window
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, motion, step)

    monkeypatch.setattr(PreparedWindow, "__call__", limited)
    finished = dict(generate_lines(model, lines))
    assert failures > 0 and finished.keys() == expected.keys()
    for index, clips in expected.items():
        for a, b in zip(clips, finished[index], strict=True):
            assert np.allclose(a.exp, b.exp, atol=1e-5) and np.allclose(a.pose, b.pose, atol=1e-5)


def test_memory_that_does_not_suffice_for_one_window_is_an_error(
    model: DiffPoseTalk, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PreparedWindow, "__call__", fail)
    with pytest.raises(DeviceError) as caught:
        generate(model, speech(5), style=None, seeds=[0, 1, 2])
    assert caught.value.kind == "out_of_memory"


def test_dynamic_thresholding_limits_the_motion(model: DiffPoseTalk):
    style = torch.randn(16)
    [plain] = generate(model, speech(2), style=style, seeds=[0], style_guidance=15.0)
    [clamped] = generate(
        model,
        speech(2),
        style=style,
        seeds=[0],
        style_guidance=15.0,
        threshold=(0.5, 0.1, 0.2),
    )
    assert np.abs(clamped.pose).max() < np.abs(plain.pose).max()


def test_long_speech_is_heard_as_it_is_needed(model: DiffPoseTalk):
    """What is known of a recording ahead of the motion does not grow with its length."""
    heard = 0
    ahead: list[int] = []
    plain = model.speech_encoder.features

    def counted(samples: np.ndarray, frames: int, on_chunk: object = None) -> Iterator[torch.Tensor]:
        nonlocal heard
        for piece in plain(samples, frames, on_chunk):
            heard += len(piece)
            yield piece

    model.speech_encoder.features = counted  # type: ignore[method-assign]
    try:
        generate(
            model,
            speech(120),
            style=None,
            seeds=[0],
            steps=1,
            on_window=lambda take, first, clip: ahead.append(heard - first),
        )
    finally:
        del model.speech_encoder.features
    assert len(ahead) == 30 and max(ahead) <= 100 + 3 * 200
