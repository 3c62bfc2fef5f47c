# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges generated again: what stands is exact, what is new joins it, wherever the range lies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.made_recordings import speech
from support.paths import CLIP

from diffposetalk.diffusion.inpainting import MARGIN, InpaintingDenoiser, Standing, place_windows
from diffposetalk.diffusion.samplers import SAMPLERS, sample
from diffposetalk.errors import Cancelled, DiffPoseTalkError
from diffposetalk.generation.batching import generate, generate_lines
from diffposetalk.generation.line import Line
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.generation.ranges import Hold, parse_holds, regenerate
from diffposetalk.motion.arkit import INDEX
from diffposetalk.motion.channel_groups import channel_groups, channel_names, channels_of
from diffposetalk.motion.clip import MotionClip, to_vectors
from diffposetalk.motion.dynamics import motion_speed
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.schedule import NoiseSchedule
from diffposetalk.sound.audio import load_speech

FRAMES = 275
RANGES = {
    "middle": (100, 150),
    "start": (0, 40),
    "end": (FRAMES - 40, FRAMES),
    "long": (30, 240),
    "few": (150, 156),
}


@pytest.fixture(scope="module")
def take(model: DiffPoseTalk) -> MotionClip:
    [clip] = generate(model, speech(FRAMES / 25), style=None, seeds=[0])
    assert len(clip) == FRAMES
    return clip


def same(a: MotionClip, b: MotionClip, frames: object) -> bool:
    return np.array_equal(a.exp[frames], b.exp[frames]) and np.array_equal(a.pose[frames], b.pose[frames])


# Groups and windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", ["arkit", "flame"])
@pytest.mark.parametrize("motion_dim", [54, 51])
def test_every_channel_is_in_one_group(basis: str, motion_dim: int) -> None:
    names = channel_names(basis, motion_dim)
    groups = channel_groups(basis, motion_dim)
    assert len(names) == len(set(names)) == motion_dim
    assert sorted(n for group in groups.values() for n in group) == sorted(names)
    assert ("head" in groups) == (motion_dim == 54)
    assert sum(channels_of([group], basis, motion_dim).sum() for group in groups) == motion_dim


def test_groups_hold_what_they_say() -> None:
    assert channels_of(["brows"], "arkit", 54).nonzero()[0].tolist() == [
        INDEX[n] for n in INDEX if n.startswith("brow")
    ]
    assert channels_of(["lips"], "arkit", 54)[[INDEX["mouthClose"], INDEX["jawLeft"], 53]].all()
    assert channels_of(["head"], "flame", 54).nonzero()[0].tolist() == [50, 51, 52]
    assert not channels_of(["head"], "arkit", 51).any()
    for group, basis in (("lips", "flame"), ("nose", "arkit")):
        with pytest.raises(DiffPoseTalkError) as caught:
            channels_of([group], basis, 54)
        assert caught.value.kind == "regenerate_hold" and group in caught.value.message


def test_windows_cover_the_range_and_its_surroundings() -> None:
    for frames in (1, 8, 99, 100, 101, 137, 1000):
        for start in range(0, frames, max(1, frames // 23)):
            for stop in {start + 1, min(frames, start + 40), min(frames, start + 171), frames}:
                first, count = place_windows(start, stop, frames, 100, 10)
                assert first == 0 or first >= 10
                assert first <= max(0, start - MARGIN) and first + 100 * count >= min(frames, stop + MARGIN)
                assert first + 100 * (count - 1) < frames  # no window past the end
                assert count <= math.ceil((stop - start + 2 * MARGIN) / 100) + 1


# The wrapper ----------------------------------------------------------------------------------------


def denoiser(x: torch.Tensor, step: int) -> torch.Tensor:
    """Something smooth that is not what is known."""
    return 0.3 * torch.tanh(x) + torch.sin(torch.arange(x.shape[1]) / 9)[None, :, None]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_motion_is_imposed_at_every_step(sampler: str) -> None:
    """The network sees what is known at the noise level of the step, and the sample is what is known there."""
    torch.manual_seed(0)
    schedule = NoiseSchedule(60)
    clean, known = torch.randn(4, 100, 54), torch.rand(4, 100, 54) < 0.5
    seen: list[tuple[int, torch.Tensor]] = []

    def watched(x: torch.Tensor, step: int) -> torch.Tensor:
        seen.append((step, x.clone()))
        return denoiser(x, step)

    denoise = InpaintingDenoiser(watched, clean, known)
    noise = torch.randn(4, 100, 54)
    start = denoise.start(noise, 0.5 * noise, schedule)  # what is unknown may be made from less of it
    assert torch.equal(start[~known], 0.5 * noise[~known])
    x0 = sample(sampler, denoise, start, schedule, 12, lambda: torch.randn(4, 100, 54))
    assert torch.allclose(x0[known], clean[known], atol=1e-6)
    for step, x in seen:
        alpha_bar = schedule.alpha_bars[step].item()
        left = (x - math.sqrt(alpha_bar) * clean)[known] / math.sqrt(1 - alpha_bar)
        assert abs(left.mean()) < 0.05 and abs(left.std() - 1) < 0.05
        if sampler not in ("ddpm", "dpmpp_2m_sde"):  # one and the same noise all along
            assert torch.allclose(left, noise[known], atol=1e-3)


def test_the_unknown_continues_the_known_at_both_ends() -> None:
    clean, known = torch.zeros(1, 100, 54), torch.ones(1, 100, 54, dtype=torch.bool)
    known[:, 30:70] = False
    out = InpaintingDenoiser(lambda x, step: torch.ones_like(x), clean, known)(clean, 5)
    assert torch.equal(out[known], clean[known])
    assert out[0, 30].max() < 0.2 and out[0, 69].max() < 0.2
    assert torch.allclose(out[0, 36:64, :50], torch.ones(28, 50))  # a face is soon itself
    assert (out[0, 36, 50:53] < 0.9).all() and torch.allclose(out[0, 36, 53], torch.tensor(1.0))
    assert out[0].diff(dim=0).abs().max() < 0.4


def test_rows_without_anything_known_are_left_alone() -> None:
    known = torch.zeros(2, 100, 54, dtype=torch.bool)
    known[1, :20] = True
    x = torch.randn(2, 100, 54)
    out = InpaintingDenoiser(denoiser, torch.zeros(2, 100, 54), known)(x, 3)
    assert torch.equal(out[0], denoiser(x, 3)[0]) and not torch.equal(out[1], denoiser(x, 3)[1])


# Ranges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", RANGES)
def test_only_the_range_changes(model: DiffPoseTalk, take: MotionClip, where: str) -> None:
    start, stop = RANGES[where]
    clips = regenerate(model, speech(FRAMES / 25), take, start, stop, seeds=[1, 2])
    for clip in clips:
        assert same(clip, take, slice(0, start)) and same(clip, take, slice(stop, None))
        assert len(clip) == FRAMES and clip.exp.min() >= 0 and clip.exp.max() <= 1
        assert (np.abs(clip.exp - take.exp)[start:stop].max(axis=1) > 1e-6).all()
        assert (np.abs(clip.pose - take.pose)[start:stop].max(axis=1) > 1e-6).all()
    assert np.abs(clips[0].exp - clips[1].exp)[start:stop].max() > 1e-3


def test_a_seed_gives_the_same_range_alone_and_beside_others(model: DiffPoseTalk, take: MotionClip) -> None:
    def again(seeds: list[int]) -> list[MotionClip]:
        return regenerate(model, speech(FRAMES / 25), take, 50, 190, seeds=seeds)

    [alone] = again([7])
    assert np.allclose(alone.exp, again([3, 7])[1].exp, atol=1e-5)


@pytest.mark.parametrize("group", ["lips", "brows", "eyes", "head"])
def test_held_channels_are_exact(model: DiffPoseTalk, take: MotionClip, group: str) -> None:
    [clip] = regenerate(model, speech(FRAMES / 25), take, 60, 200, seeds=[3], holds=[Hold([group])])
    held = channels_of([group], "arkit", 54)
    before, after = to_vectors(take, 54), to_vectors(clip, 54)
    assert np.array_equal(after[:, held], before[:, held])
    changed = np.abs(after - before)[60:200].max(axis=0) > 1e-6
    free = before[60:200].std(axis=0) > 1e-3  # coefficients that are not at a limit all along
    assert changed[~held & free].all()


def test_keys_inside_the_range_can_be_held(model: DiffPoseTalk, take: MotionClip) -> None:
    hold = [Hold(["brows"], 120, 121), Hold(["head"], 90, 110)]
    [clip] = regenerate(model, speech(FRAMES / 25), take, 80, 160, seeds=[3], holds=hold)
    brows, before, after = channels_of(["brows"], "arkit", 54), to_vectors(take, 54), to_vectors(clip, 54)
    assert np.array_equal(after[120, brows], before[120, brows])
    assert not np.array_equal(after[119, brows], before[119, brows])
    assert np.array_equal(after[90:110, 50:53], before[90:110, 50:53])
    assert not np.array_equal(after[111, 50:53], before[111, 50:53])


def test_a_long_take_is_heard_around_the_range_only(model: DiffPoseTalk) -> None:
    """A range of a long take is what it would be if the model had worked through all of the recording."""
    audio, frames = speech(100), 2500
    rng = np.random.default_rng(0)
    vectors = np.cumsum(rng.standard_normal((frames, 54)), axis=0).astype(np.float32) * 0.01
    vectors[:, :50] = np.abs(vectors[:, :50]) % 1
    clip = MotionClip(vectors[:, :50], np.zeros((frames, 6), np.float32), 25.0, "arkit")
    heard: list[int] = []
    plain = model.speech_encoder.features

    def counted(samples: np.ndarray, frames: int, on_chunk: object = None):  # type: ignore[no-untyped-def]
        heard.append(len(samples))
        return plain(samples, frames, on_chunk)

    model.speech_encoder.features = counted  # type: ignore[method-assign]
    try:
        [part] = regenerate(model, audio, clip, 1200, 1260, seeds=[5])
    finally:
        del model.speech_encoder.features
    known = np.ones((frames, 54), bool)
    known[1200:1260] = False
    line = Line(audio, GenerationOptions((5,)), standing=Standing(to_vectors(clip, 54), known))
    [(_, [whole])] = generate_lines(model, [line])
    assert heard[0] < 60 * 16_000
    assert np.allclose(part.exp, whole.exp, atol=1e-4) and np.allclose(part.pose, whole.pose, atol=1e-4)


def test_takes_of_another_basis_are_exact_where_they_stand(model: DiffPoseTalk, take: MotionClip) -> None:
    """Conversions that lose something: what stands is exact all the same, and what is new joins it."""

    def to_model(clip: MotionClip) -> MotionClip:
        return replace(clip, basis="arkit", exp=np.round(clip.exp[:, ::-1] / 4, 1))

    def back(clip: MotionClip) -> MotionClip:
        return replace(clip, basis="flame", exp=4 * clip.exp[:, ::-1] + 0.3)

    other = replace(take, basis="flame", exp=4 * take.exp[:, ::-1])
    audio, settings = speech(FRAMES / 25), {"seeds": [1], "conversions": (to_model, back)}
    [clip] = regenerate(model, audio, other, 90, 150, **settings)
    assert clip.basis == "flame" and same(clip, other, slice(0, 90)) and same(clip, other, slice(150, None))
    assert (np.abs(clip.exp - other.exp)[90:150].max(axis=1) > 1e-3).all()
    steps = np.abs(np.diff(clip.exp, axis=0)).max(axis=1)
    assert max(steps[89], steps[149]) < 1.5 * np.abs(np.diff(other.exp, axis=0)).max()
    [clip] = regenerate(
        model, audio, other, 90, 150, holds=[Hold(["expression"]), Hold(["head"])], **settings
    )
    assert np.array_equal(clip.exp, other.exp) and np.array_equal(clip.pose[:, :3], other.pose[:, :3])
    assert not np.array_equal(clip.pose[90:150, 3], other.pose[90:150, 3])


def test_ranges_and_whole_lines_run_side_by_side(model: DiffPoseTalk, take: MotionClip) -> None:
    audio = speech(FRAMES / 25)
    known = np.ones((FRAMES, 54), bool)
    known[50:120] = False
    lines = [
        Line(audio, GenerationOptions((1,))),
        Line(audio, GenerationOptions((2, 3)), standing=Standing(to_vectors(take, 54), known)),
    ]
    together = dict(generate_lines(model, lines))
    alone = [next(generate_lines(model, [line]))[1] for line in lines]
    for a, b in ((together[0][0], alone[0][0]), (together[1][1], alone[1][1])):
        assert np.allclose(a.exp, b.exp, atol=1e-5) and np.allclose(a.pose, b.pose, atol=1e-5)


def test_provenance_says_what_was_generated_again(model: DiffPoseTalk, take: MotionClip) -> None:
    audio = speech(FRAMES / 25)
    [once] = regenerate(model, audio, take, 10, 60, seeds=[4], holds=[Hold(["head"])], style_name="calm")
    [twice] = regenerate(model, audio, once, 100, 140, seeds=[5])
    first, second = twice.provenance["regenerated"]
    assert (first["start"], first["stop"], first["seed"], first["held"]) == (10, 60, 4, ["head"])
    assert second["seed"] == 5 and twice.provenance["synthetic"] is True
    assert twice.provenance["seed"] == take.provenance["seed"] and "regenerated" not in take.provenance


def test_cancel_stops_between_steps(model: DiffPoseTalk, take: MotionClip) -> None:
    told: list[int] = []
    with pytest.raises(Cancelled):
        regenerate(
            model,
            speech(FRAMES / 25),
            take,
            20,
            250,
            seeds=[0],
            on_progress=lambda stage, done, total: told.append(done) if stage == "motion" else None,
            cancelled=lambda: len(told) >= 2,
        )
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"start": 50, "stop": 50}, "regenerate_range"),
        ({"start": -1, "stop": 5}, "regenerate_range"),
        ({"start": 0, "stop": FRAMES + 1}, "regenerate_range"),
        ({"holds": [Hold(["lips", "brows", "eyes", "head"])]}, "regenerate_hold"),
        ({"holds": [Hold(["chin"])]}, "regenerate_hold"),
        ({"fps": 30.0}, "motion_fps"),
        ({"basis": "flame"}, "motion_basis"),
        ({"seconds": 0.4}, "regenerate_range"),
        ({"seeds": []}, "settings_seed"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: DiffPoseTalk, take: MotionClip, settings: dict, kind: str
) -> None:
    settings = {
        "start": 20,
        "stop": 30,
        "seconds": FRAMES / 25,
        "seeds": [0],
        "fps": 25.0,
        "basis": "arkit",
    } | settings
    clip = MotionClip(take.exp, take.pose, settings.pop("fps"), settings.pop("basis"))
    audio, start, stop = (
        speech(settings.pop("seconds")),
        settings.pop("start"),
        settings.pop("stop"),
    )
    with pytest.raises(DiffPoseTalkError) as caught:
        regenerate(model, audio, clip, start, stop, **settings)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "data", [{"groups": "lips"}, [{"groups": "lips"}], [{}], [{"groups": ["lips"], "stop": 1.5}], [3], 7]
)
def test_holds_that_are_none(data: object) -> None:
    with pytest.raises(DiffPoseTalkError) as caught:
        parse_holds(data)
    assert caught.value.kind == "regenerate_hold"


def test_holds_travel_as_json() -> None:
    data = [{"groups": ["lips"], "start": 3, "stop": 9}, {"groups": ["head"]}]
    assert parse_holds(data) == [Hold(("lips",), 3, 9), Hold(("head",))]


# The bundled model ----------------------------------------------------------------------------------


def test_joins_are_no_faster_than_the_take() -> None:
    """Speeds where old and new meet lie within the 95th percentile of the take's as often as its own do."""
    model = load_model(device="cpu")
    audio = load_speech(CLIP)
    style = next(iter(model.styles.values())).vector
    [take] = generate(model, audio, style=style, seeds=[0])
    scale, before = model.normalizer.motion_std.cpu().numpy(), to_vectors(take, 54)
    parts = {"all": slice(0, 54), "face": slice(0, 50), "head": slice(50, 53)}
    joins: dict[str, list[float]] = {name: [] for name in parts}
    ends = len(take)
    for start, stop in ((100, 150), (0, 40), (ends - 40, ends), (60, 180), (210, 235)):
        for clip in regenerate(model, audio, take, start, stop, seeds=[1, 2], style=style):
            after = to_vectors(clip, 54)
            assert np.abs(after - before)[start:stop].mean() > 1e-3
            for name, part in parts.items():
                usual = motion_speed(before[:, part], scale[part])
                speeds = motion_speed(after[:, part], scale[part])
                for join in (start - 1, stop - 1):
                    if 0 <= join < len(speeds):
                        joins[name].append(float((usual < speeds[join]).mean()))
    for name, percentiles in joins.items():
        assert np.mean(np.array(percentiles) <= 0.95) >= 0.85, (name, percentiles)
        assert np.mean(percentiles) < 0.75, name
