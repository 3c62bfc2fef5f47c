# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model's training set, built from the corpora.

A sequence is several utterances of one speaker said one after the other (the corpora's clips are 3 to 5 s, a
training sample needs two windows), heard in one or more sound variants and moved in one or more styles.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np

from ..head_model import HeadModel, load_head
from ..speech_encoder import SAMPLES_PER_FRAME, SpeechEncoder, encode
from .augmentation import augment
from .corpora import Utterance, read_corpus
from .performance import draw_factors, perform
from .phone_teacher import label, phone_features, train_teacher
from .prosody import analyse
from .tracked_motion import LipGap, TrackedCorpus
from .training_set import Sequence, TrainingSet

MIN_FRAMES = 210
JOIN = 5
"""Frames over which the motions of two joined utterances are blended."""
ROUNDS = {"grid_s1": 2, "kokoro_en": 1, "speechocean": 1}
"""How many random groupings into sequences each corpus is given."""
STYLES = 4
"""Manners of speaking that each sequence is performed in, besides the tracked one if there is one."""
SILENCE_FRAMES = 100


def group(utterances: Seq[Utterance], rng: np.random.Generator) -> list[list[Utterance]]:
    """Shuffle each speaker's utterances and join them until each group has MIN_FRAMES frames."""
    groups = []
    by_speaker: dict[str, list[Utterance]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u)
    for spoken in by_speaker.values():
        order = [spoken[i] for i in rng.permutation(len(spoken))]
        current: list[Utterance] = []
        for u in order:
            current.append(u)
            if sum(x.frames for x in current) >= MIN_FRAMES:
                groups.append(current)
                current = []
        if current:
            # Too few are left over: fill up with ones already used.
            while sum(x.frames for x in current) < MIN_FRAMES:
                current.append(order[int(rng.integers(len(order)))])
            groups.append(current)
    return groups


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenate motions (T_i, D), easing each into the next over JOIN frames on either side."""
    out = np.concatenate(parts)
    edge = 0
    for a in parts[:-1]:
        edge += len(a)
        low, high = max(0, edge - JOIN), min(len(out), edge + JOIN)
        jump = out[edge] - out[edge - 1]
        ramp_in = np.linspace(0, 0.5, edge - low, endpoint=False)[:, None]
        ramp_out = np.linspace(0.5, 0, high - edge)[:, None]
        out[low:edge] += ramp_in * jump
        out[edge:high] -= ramp_out * jump
    return out


def prepare(
    data: Path, out: Path, encoder: SpeechEncoder, head: HeadModel | None = None, seed: int = 0
) -> None:
    """Build the training set from the corpora under `data` into the folder `out`.

    Learns the phone teacher from grid_s1's training clips, labels the other voices with it, joins utterances
    into sequences, performs each in several styles and encodes each clean and augmented.
    """
    head = head or load_head()
    gap = LipGap(head)
    rng = np.random.default_rng(seed)
    grid = read_corpus(data / "grid_s1")
    tracker = TrackedCorpus(data / "grid_s1", head, [u.motion for u in grid if u.motion and not u.validation])
    lips: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    tracked: dict[str, np.ndarray] = {}
    for u in grid:
        if not u.validation and u.motion:
            motion = _fit(tracker.motion(u.motion), u.frames)
            tracked[u.id] = motion
            lips[u.id] = motion[:, :50], motion[:, 53]
    pairs = [(phone_features(u.phones, u.frames), tracked[u.id]) for u in grid if u.id in tracked]
    teacher, scale = train_teacher(pairs)
    training = {"grid_s1": [u for u in grid if not u.validation]}
    for name in ("kokoro_en", "speechocean"):
        training[name] = [u for u in read_corpus(data / name) if not u.validation]
        for u in training[name]:
            lips[u.id] = label(teacher, scale, u, u.frames, gap)
    print(f"labelled {len(lips)} utterances", flush=True)

    features: list[np.ndarray] = []
    motions: list[np.ndarray] = []
    sequences: list[Sequence] = []
    feature_rows = motion_rows = 0
    for name, utterances in training.items():
        for turn in range(ROUNDS[name]):
            for k, members in enumerate(group(utterances, rng)):
                frames = sum(u.frames for u in members)
                sound = np.concatenate([_fit(u.samples(), u.frames * SAMPLES_PER_FRAME) for u in members])
                exp = join([lips[u.id][0] for u in members])
                jaw = join([lips[u.id][1][:, None] for u in members])[:, 0]
                prosody = analyse(sound, frames)
                sequence = Sequence(f"{name}-{turn}-{k}", name, members[0].speaker, frames, [], [])
                variants = [sound, augment(sound, rng)]
                for variant in variants:
                    sequence.feature_starts.append(feature_rows)
                    feature_rows += frames
                    features.append(encode(encoder, variant, frames).cpu().numpy().astype(np.float16))
                performances = [perform(exp, jaw, prosody, draw_factors(rng), rng) for _ in range(STYLES)]
                if all(u.id in tracked for u in members):
                    performances.append(join([tracked[u.id] for u in members]))
                for motion in performances:
                    sequence.motion_starts.append(motion_rows)
                    motion_rows += frames
                    motions.append(motion.astype(np.float32))
                sequences.append(sequence)
            print(f"{name} round {turn + 1}: {len(sequences)} sequences", flush=True)
    tail = np.concatenate([_last_sound(training["grid_s1"][0]), np.zeros(SILENCE_FRAMES * SAMPLES_PER_FRAME)])
    silence = encode(encoder, tail.astype(np.float32), len(tail) // SAMPLES_PER_FRAME)[-SILENCE_FRAMES:]
    TrainingSet(np.concatenate(features), np.concatenate(motions), sequences, silence.cpu().numpy()).save(out)


def _last_sound(utterance: Utterance) -> np.ndarray:
    samples = utterance.samples()
    return samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]


def _fit(values: np.ndarray, length: int) -> np.ndarray:
    """Cut, or hold the last value, to `length` rows."""
    if len(values) >= length:
        return values[:length]
    return np.concatenate([values, np.repeat(values[-1:], length - len(values), axis=0)])
