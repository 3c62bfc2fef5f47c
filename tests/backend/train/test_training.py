# SPDX-License-Identifier: GPL-3.0-or-later
"""Training on a small made-up set: it learns, and its parts do what the paper says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.paths import BUNDLED_HEAD
from support.training_sets import CONFIG, made_set

from diffposetalk.head.head_model import HeadModel, load_head
from diffposetalk.motion.arkit import INDEX
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.networks.style_encoder import distances
from diffposetalk.tracking.lip_gap import LipGap
from diffposetalk.train.denoiser_training import Batch, BatchSource, TwoWindowLosses, train_denoiser
from diffposetalk.train.losses import GeometricLoss, RealFrames, head_loss, mouth_vertices, moving_vertices
from diffposetalk.train.new_model import new_model
from diffposetalk.train.own_model.augmentation import augment
from diffposetalk.train.own_model.performance import StyleFactors, draw_factors, perform
from diffposetalk.train.own_model.phone_teacher import (
    articulate,
    closure_envelope,
    opening_floor,
    phone_features,
)
from diffposetalk.train.own_model.prosody import analyse
from diffposetalk.train.own_model.sequences import PAUSE_SECONDS, Spoken, join, said
from diffposetalk.train.own_model.style_views import view
from diffposetalk.train.recipe import DenoiserTraining, LossWeights, StyleTraining
from diffposetalk.train.samples import sample_clip
from diffposetalk.train.style_training import motion_statistics, train_style_encoder
from diffposetalk.train.training_set import TrainingSet


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(BUNDLED_HEAD)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return made_set()


SETTINGS = DenoiserTraining(
    iterations=6,
    batch=4,
    warmup=1,
    checkpoint_every=100,
    learning_rate=2e-3,
    gradient_clip=1.0,
    sample_every=0,
    geometry="mouth",
)


def fresh(data: TrainingSet) -> DiffPoseTalk:
    torch.manual_seed(5)
    return new_model(CONFIG, data)


def test_style_encoder_learns_to_tell_styles_apart(data: TrainingSet, tmp_path: Path):
    settings = StyleTraining(iterations=60, batch=12, learning_rate=2e-3)
    encoder = train_style_encoder(data, tmp_path, CONFIG.style_encoder, settings)
    mean, std = data.motion.mean(0), np.maximum(data.motion.std(0), 0.02)

    def styles(part: slice) -> torch.Tensor:
        rows = np.stack([data.motion[s.motion_starts[0] :][part] for s in data.sequences])
        with torch.no_grad():
            out = encoder(torch.from_numpy((rows - mean) / std).float())
        return torch.nn.functional.normalize(out, dim=-1)

    similar = styles(slice(0, 100)) @ styles(slice(110, 210)).T
    rank = (similar > similar.diagonal()[:, None]).sum(1).float()
    assert rank.mean() < 2.0  # chance is 5.5


def test_denoiser_learns_to_follow_speech(data: TrainingSet, head: HeadModel, tmp_path: Path):
    settings = replace(
        SETTINGS,
        iterations=150,
        batch=8,
        ema=0.9,
        checkpoint_every=1000,
        geometry_vertices=8,
        weights=LossWeights(2e5, 1e5, 0, 0.5, 0.2, 0.02, 0.02),
    )
    model = train_denoiser(fresh(data), data, head, tmp_path, settings)
    settings = replace(settings, truncate_first=0, truncate_second=0)
    batch = BatchSource(data, model, settings).draw(9, 0)
    with torch.no_grad():
        x0 = model.normalizer.normalize(batch.motion)
        speech = torch.cat(
            [model.start_speech.expand(8, -1, -1), model.speech_proj(batch.speech[:, :100])], 1
        )
        out = model.denoiser(
            torch.randn_like(x0[:, :100]),
            model.start_motion.expand(8, -1, -1),
            speech,
            model.style_encoder(x0[:, 100:]),
            torch.zeros(8, 100),
            torch.full((8,), 50),
            torch.ones(8, 100),
        )[:, 10:]
    jaw = out[..., -1].flatten(), x0[:, :100, -1].flatten()
    assert np.corrcoef(*(v.numpy() for v in jaw))[0, 1] > 0.5


class Heard:
    """Stands in for the denoiser and keeps what it is given."""

    def __init__(self, model: DiffPoseTalk) -> None:
        self.forward, self.arguments = model.denoiser.forward, ()
        model.denoiser.forward = self  # type: ignore[method-assign]

    def __call__(self, *arguments: torch.Tensor) -> torch.Tensor:
        self.arguments = arguments
        return self.forward(*arguments)


def objective(data: TrainingSet, settings: DenoiserTraining) -> tuple[TwoWindowLosses, Batch, Heard]:
    model = fresh(data)
    batch = BatchSource(data, model, settings).draw(3, 0)
    return TwoWindowLosses(model, None, data.silence, settings).train(), batch, Heard(model)


def test_two_windows_with_crossed_styles(data: TrainingSet):
    settings = replace(
        SETTINGS, batch=8, style_dropout=0, all_dropout=0, truncate_first=0.5, truncate_second=0.5
    )
    losses, batch, heard = objective(data, settings)
    losses(batch)
    noisy, previous_motion, speech, style, _, step, indicator = heard.arguments
    model = losses.model
    x0 = model.normalizer.normalize(batch.motion)
    with torch.no_grad():
        assert torch.allclose(style[:8], model.style_encoder(x0[:, 100:]))
        assert torch.allclose(style[8:], model.style_encoder(x0[:, :100]))
    assert torch.equal(previous_motion[8:], x0[:, 90:100])
    assert torch.equal(previous_motion[:8], model.start_motion.expand(8, -1, -1))
    assert torch.equal(speech[:8, :10], model.start_speech.expand(8, -1, -1))
    # The second window follows the whole of the first, also where that one is cut.
    assert torch.allclose(speech[8:, :10], model.speech_proj(batch.speech[:, 90:100]), atol=1e-6)
    real = torch.cat([batch.real[0], batch.real[1]])
    assert ((real < 100).sum() > 2) and real.min() >= 1
    assert torch.equal(indicator.sum(1).long(), real)
    silence = model.speech_proj(torch.zeros(1, 8))[0]
    for k in range(16):
        length = int(real[k])
        assert torch.allclose(speech[k, 10 + length :], silence.expand(100 - length, -1), atol=1e-6)
        # Past the end there is noise alone: the motion there is not known at generation.
        alpha_bar = model.schedule.alpha_bars[step[k]]
        noise = batch.noise.flatten(0, 1)[k]
        expected = (1 - alpha_bar).sqrt() * noise[length:]
        assert torch.allclose(noisy[k, length:], expected.float(), atol=1e-5)


@pytest.mark.parametrize("hears_before", [True, False])
def test_branch_without_speech(data: TrainingSet, hears_before: bool):
    settings = replace(SETTINGS, batch=4, style_dropout=0, all_dropout=1.0)
    losses, batch, heard = objective(data, settings)
    sampling = replace(losses.model.config.sampling, hears_before=hears_before)
    losses.model.config = replace(losses.model.config, sampling=sampling)
    losses(batch)
    _, _, speech, style, *_ = heard.arguments
    model = losses.model
    assert torch.equal(style, model.null_style.expand(8, -1))
    assert torch.equal(speech[:, 10:], model.null_speech.expand(8, 100, -1))
    silenced = torch.equal(speech[4:, :10], model.null_speech.expand(4, 10, -1))
    assert silenced is not hears_before
    if hears_before:
        assert torch.equal(speech[:4, :10], model.start_speech.expand(4, -1, -1))


def test_conditions_are_dropped_as_often_as_the_paper_says(data: TrainingSet):
    losses, _, heard = objective(data, replace(SETTINGS, batch=200))
    source = BatchSource(data, losses.model, replace(SETTINGS, batch=200))
    without_style = without_both = total = 0
    for iteration in range(4):
        losses(source.draw(0, iteration))
        _, _, speech, style, *_ = heard.arguments
        no_style = (style == losses.model.null_style).all(1)
        no_speech = (speech[:, 10:] == losses.model.null_speech).all(2).all(1)
        assert not (no_speech & ~no_style).any()
        without_style += int((no_style & ~no_speech).sum())
        without_both += int(no_speech.sum())
        total += len(style)
    assert abs(without_style / total - 0.45) < 0.05 and abs(without_both / total - 0.1) < 0.03


def test_known_identities_condition_the_model_and_shape_the_mesh(data: TrainingSet, head: HeadModel):
    shapes = np.random.default_rng(2).standard_normal((12, 100)).astype(np.float32)
    known = replace(data, shapes=shapes)
    model = fresh(known)
    settings = replace(SETTINGS, batch=3)
    batch = BatchSource(known, model, settings).draw(0, 0)
    geometry = GeometricLoss(head, *mouth_vertices(head, 20))
    heard = Heard(model)
    TwoWindowLosses(model, geometry, data.silence, settings)(batch)
    assert batch.shape is not None
    expected = model.normalizer.normalize_shape(batch.shape)
    assert torch.allclose(heard.arguments[4], expected.repeat(2, 1))
    still = torch.zeros(1, 1, 54)
    assert not torch.allclose(geometry.mesh(still, batch.shape[:1]), geometry.mesh(still), atol=1e-4)


def test_geometric_losses(head: HeadModel):
    loss = GeometricLoss(head, *mouth_vertices(head, 40))
    motion = torch.zeros(2, 12, 54)
    mask = torch.ones(2, 12)
    assert all(v.item() == 0 for v in loss(motion, motion, RealFrames(mask)))
    opened = motion.clone()
    opened[:, 6:, 53] = 0.2
    vertex, velocity, smooth = loss(opened, motion, RealFrames(mask))
    assert vertex > 0 and velocity > 0 and smooth > 0
    # A mask that leaves the change out leaves the loss at zero.
    half = mask.clone()
    half[:, 6:] = 0
    assert loss(opened, motion, RealFrames(half))[0].item() == 0
    # Vertices are those of the whole head, and head rotation does not move them.
    full = head.vertices(torch.zeros(1, 50), torch.tensor([[0, 0, 0, 0.2, 0, 0.0]]))[0, loss.vertices]
    turned = opened[:1, 6:7].clone()
    turned[..., 50:53] = 0.3
    assert torch.allclose(loss.mesh(turned)[0, 0], full, atol=1e-6)


@pytest.mark.parametrize("count", [48, 384])
def test_moving_vertices_stand_for_the_whole_head(head: HeadModel, count: int):
    rng = np.random.default_rng(4)
    motion = np.zeros((300, 54), np.float32)
    motion[:, :50] = rng.uniform(0, 0.5, (300, 50))
    motion[:, 53] = rng.uniform(0, 0.3, 300)
    vertices, weights = moving_vertices(head, motion, count)
    assert len(vertices) <= count and len(np.unique(vertices)) == len(vertices)
    loss = GeometricLoss(head, vertices, weights)
    whole = np.arange(len(head.v_template))
    exact = GeometricLoss(head, whole, np.full(len(whole), 1 / len(whole)))
    a, b = torch.from_numpy(motion[None, :20]), torch.from_numpy(motion[None, 20:40])
    real = RealFrames(torch.ones(1, 20))
    for estimate, true in zip(loss(a, b, real), exact(a, b, real), strict=True):
        assert estimate.item() == pytest.approx(true.item(), rel=0.25 if count == 48 else 0.1)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_means_over_real_frames_add_up_over_processes(order: int):
    rng = np.random.default_rng(order)
    mask = torch.from_numpy((np.arange(12) < rng.integers(0, 13, (6, 1))).astype(np.float32))
    values = torch.from_numpy(rng.standard_normal((6, 12 - order)))
    kept = [values[b, t] for b in range(6) for t in range(12 - order) if mask[b, t : t + order + 1].all()]
    whole = RealFrames(mask).mean(values, order)
    assert whole.item() == pytest.approx(float(np.mean(kept)))
    shares = [RealFrames(mask[k : k + 2], mask).mean(values[k : k + 2], order) for k in (0, 2, 4)]
    assert torch.stack(shares).mean().item() == pytest.approx(whole.item())


def test_head_loss_sees_the_seam():
    weights = LossWeights(head_angle=0, head_velocity=0, head_acceleration=0)
    target = torch.zeros(1, 30, 54)
    for frame, expected in ((10, True), (25, False)):
        predicted = target.clone()
        predicted[:, frame:, 50:53] = 1.0
        real = RealFrames(torch.ones(1, 30))
        assert (head_loss(predicted, target, real, 10, weights) > 0).item() is expected


def test_performance_is_within_range_and_styled():
    rng = np.random.default_rng(0)
    frames = 500
    sound = (0.1 * rng.standard_normal(frames * 640) * (np.sin(np.arange(frames * 640) / 4000) > 0)).astype(
        np.float32
    )
    prosody = analyse(sound, frames)
    lips, jaw = np.zeros((frames, 50), np.float32), np.full(frames, 0.1)
    for seed in range(5):
        out = perform(
            lips, jaw, prosody, draw_factors(np.random.default_rng(seed)), np.random.default_rng(seed)
        )
        assert out.shape == (frames, 54) and np.isfinite(out).all()
        assert out[:, :50].min() >= 0 and out[:, :50].max() <= 1
        assert np.abs(out[:, 50:53]).max() < np.radians(40)
    small = perform(lips, jaw, prosody, StyleFactors(head=0.4), np.random.default_rng(1))
    large = perform(lips, jaw, prosody, StyleFactors(head=1.6), np.random.default_rng(1))
    assert large[:, 50:53].std() > 2.5 * small[:, 50:53].std()


def test_lips_reach_a_wanted_gap(head: HeadModel):
    gap = LipGap(head)
    rng = np.random.default_rng(0)
    exp = np.zeros((50, 50), np.float32)
    exp[:, INDEX["mouthPucker"]] = rng.uniform(0, 0.5, 50)
    exp[:, INDEX["mouthFunnel"]] = rng.uniform(0, 0.3, 50)
    wanted = rng.uniform(0, 0.015, 50)
    out, jaw = gap.reach(exp, rng.uniform(0, 0.2, 50), wanted)
    assert np.abs(gap.of(out, jaw) - wanted).max() < 5e-4
    assert out.min() >= 0 and out.max() <= 1 and jaw.min() >= 0


def test_lips_close_on_bilabials_and_part_on_open_vowels(head: HeadModel):
    gap = LipGap(head)
    # Half-open lips all along but for one wide opening, as an average over contexts would have them.
    exp, jaw = np.zeros((50, 50), np.float32), np.full(50, 0.05)
    jaw[3:9] = 0.25
    phones = [("B", 0.8, 0.9), ("AA", 1.0, 1.2), ("AH", 1.5, 1.56)]
    for openings in (False, True):
        closed, dropped = articulate(exp, jaw, phones, gap, openings)
        opening = gap.of(closed, dropped)
        wide = np.percentile(opening, 95)
        assert opening[20:23].min() < 0.05 * wide
        assert bool(opening[26:29].max() > 0.55 * wide) is openings
        assert bool(opening[37:39].max() > 0.5 * wide) is openings
    assert np.array_equal(exp, np.zeros((50, 50))) and jaw[20] == 0.05  # what was given is not changed
    floor = opening_floor([("AA", 1.0, 1.2)], 50)
    assert floor.max() == pytest.approx(0.62) and floor[:22].max() == 0 and floor[33:].max() == 0


def test_speech_pauses_with_closed_lips():
    rng = np.random.default_rng(0)

    def part(level: float) -> Spoken:
        motion = np.full((100, 54), level, np.float32)
        return Spoken(np.full(64_000, level, np.float32), motion[:, :50], motion[:, 53], motion)

    parts = said([part(0.2), *[part(0.4)] * 200], rng)
    pauses = [p for p in parts if len(p.jaw) != 100]
    assert 30 < len(pauses) < 90
    assert all(PAUSE_SECONDS[0] * 25 - 1 <= len(p.jaw) <= PAUSE_SECONDS[1] * 25 for p in pauses)
    for pause in pauses:
        assert len(pause.sound) == 640 * len(pause.jaw) and np.abs(pause.sound).max() < 0.02
        assert not pause.jaw.any() and not pause.tracked[:, INDEX["mouthClose"]].any()
        assert pause.tracked[0, 51] == pytest.approx(0.2 if pause is parts[1] else 0.4)


def test_views_of_a_performance_differ_in_what_captures_differ_in():
    rng = np.random.default_rng(0)
    motion = rng.uniform(0.1, 0.3, (100, 54)).astype(np.float32)
    views = [view(motion, rng) for _ in range(100)]
    assert all(v.shape == motion.shape and v[:, :50].min() >= 0 and v[:, :50].max() <= 1 for v in views)
    jaw, roll, smile = 53, INDEX["mouthRollLower"], INDEX["mouthSmileLeft"]
    gains = [v[:, jaw].mean() / motion[:, jaw].mean() for v in views]
    assert 0.1 < np.std(np.log(gains)) < 0.2
    assert 10 < sum(not v[:, roll].any() for v in views) < 50
    assert not any((v[:, smile] == 0).all() for v in views)
    recentred = sum(abs(v[:, 50:53].mean()) < 1e-6 for v in views)
    assert 30 < recentred < 70
    assert np.corrcoef(views[0][:, smile], motion[:, smile])[0, 1] > 0.99


def test_distances_are_of_frames_on_either_side():
    motion = torch.zeros(1, 20, 2)
    motion[0, 10:, 0] = 0.05 * (torch.e - 1)
    moved = distances(motion, 3)
    assert torch.allclose(moved[0, 7:13, 0], torch.ones(6)) and not moved[0, :7].any()
    assert not moved[0, 13:].any() and not moved[..., 1].any()


def test_a_style_tells_how_much_the_head_moves(tmp_path: Path):
    # Alike at rest, they differ in how far the head swings: with `movement` the style says how far.
    data = made_set()
    rng = np.random.default_rng(0)
    swing = np.exp(rng.uniform(-1.5, 1.5, len(data.sequences)))
    for sequence, size in zip(data.sequences, swing, strict=True):
        start = sequence.motion_starts[0]
        rows = data.motion[start : start + sequence.frames]
        rows[:, 22:24] = 0
        time = np.arange(sequence.frames)[:, None]
        rows[:, 50:53] = 0.03 * size * np.sin(time / (6 + np.arange(3)) + rng.uniform(0, 6, 3))
    config = replace(CONFIG.style_encoder, differences=3)
    settings = StyleTraining(iterations=120, batch=8, learning_rate=3e-3, movement=1.0, checkpoint_every=1000)
    encoder = train_style_encoder(data, tmp_path, config, settings, "cpu")
    mean, std = motion_statistics(data)

    def styles(offset: int) -> np.ndarray:
        starts = [s.motion_starts[0] + offset for s in data.sequences]
        rows = np.stack([(data.motion[k : k + 100] - mean) / std for k in starts]).astype(np.float32)
        with torch.no_grad():
            return np.c_[encoder(torch.from_numpy(rows)).numpy(), np.ones(len(starts))]

    known, asked = styles(0), styles(110)
    weights = np.linalg.solve(known.T @ known + 0.1 * np.eye(known.shape[1]), known.T @ np.log(swing))
    assert np.corrcoef(asked @ weights, np.log(swing))[0, 1] > 0.9


def test_augmented_sound_has_noise_and_babble():
    sound = (0.1 * np.sin(np.arange(48_000) / 20)).astype(np.float32)
    voice = np.sin(np.arange(9_000) / 5).astype(np.float32)  # 509 Hz, which the sound has not
    rng = np.random.default_rng(0)
    babbled = 0
    for _ in range(40):
        out = augment(sound, rng, [voice])
        assert out.dtype == np.float32 and out.shape == sound.shape and 0.09 < np.abs(out).max() <= 0.91
        spectrum = np.abs(np.fft.rfft(out))
        at = round(509 / 16_000 * 48_000)
        babbled += spectrum[at - 5 : at + 6].max() > 20 * np.median(spectrum[at - 200 : at + 200])
    assert 4 <= babbled <= 20


def test_joins_have_no_jump():
    a, b = np.zeros((40, 3)), np.ones((40, 3))
    out = join([a, b])
    assert len(out) == 80 and np.abs(np.diff(out, axis=0)).max() < 0.3


def test_phones_to_frames():
    features = phone_features([("P", 0.04, 0.1), ("AA", 0.1, 0.2), ("??", 0.2, 0.24)], 8)
    assert np.allclose(features.sum(axis=1), 1)
    closed = closure_envelope([("P", 0.2, 0.3)], 15)
    assert closed.min() == 0 and closed[0] == 1 and closed[-1] == 1


def test_samples_of_a_training_are_made_as_takes_are(data: TrainingSet):
    """With the settings that users' takes have, and with the weights of the moment."""
    model = new_model(CONFIG, data).eval()
    style = torch.zeros(CONFIG.denoiser.style_dim)

    def exp() -> np.ndarray:
        return sample_clip(model, data, slice(0, 2 * CONFIG.denoiser.window), style).exp

    plain = exp()
    assert np.array_equal(exp(), plain) and len(plain) == 2 * CONFIG.denoiser.window
    for changed in ({"lips_temperature": 0.3}, {"join_face": 3, "join_head": 6}, {"style_guidance": 9.0}):
        model.config = replace(CONFIG, sampling=replace(CONFIG.sampling, **changed))
        assert not np.array_equal(exp(), plain), changed
    model.config = CONFIG
    model.train()
    with torch.no_grad():
        model.denoiser.motion_proj.weight.mul_(2)
    model.eval()
    assert not np.array_equal(exp(), plain)
