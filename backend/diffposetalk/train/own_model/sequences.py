# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model's training set, built from the corpora.

A sequence is several utterances of one speaker said one after the other (the corpora's clips are 3 to 5 s, a
training sample needs two windows), heard in one or more sound variants and moved in one or more styles. After its
first round a corpus is heard again as other voices would have said it: faster and higher, or slower and deeper.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from ...config import EXPRESSION_DIM, FPS
from ...head.head_model import HeadModel, load_head
from ...motion.arkit import MOUTH
from ...networks.speech.encoder import SAMPLES_PER_FRAME, SpeechEncoder, encode
from ...phones import Phone
from ...sound.audio import SAMPLE_RATE
from ...tracking.lip_gap import LipGap
from ..tracked_motion import TrackedCorpus
from ..training_set import Sequence, TrainingSet
from .augmentation import augment, in_noise
from .corpora import Utterance, read_corpus, read_mouth_corpus
from .performance import draw_factors, perform
from .phone_teacher import articulate, label, phone_features, train_teacher
from .prosody import analyse

MIN_FRAMES = 210
JOIN = 5
"""Frames over which the motions of two joined utterances are blended."""
ROUNDS = {"grid_s1": 2, "facegood": 2, "kokoro_en": 3, "speechocean": 3}
"""How many random groupings into sequences each corpus is given."""
TEMPI = ((5, 6), (7, 8), (19, 20), (21, 20), (9, 8), (7, 6))
"""Speeds, as fractions, at which a group is heard from the second round on; pitch and formants follow."""
STYLES = 4
"""Manners of speaking that each sequence is performed in, besides the tracked one if there is one."""
PAUSED = 0.3
"""Share of the joins between utterances at which there is a pause."""
PAUSE_SECONDS = (0.3, 2.5)
BABBLE_CLIPS = 60
SILENCE_FRAMES = 100


@dataclass(frozen=True)
class Spoken:
    """An utterance as it is heard and moved in a sequence.

    Attributes:
        sound: (T · 640,) 16 kHz.
        exp, jaw: (T, 50) and (T,) motion of the mouth.
        tracked: (T, 54) the whole motion, where it is known.
    """

    sound: np.ndarray
    exp: np.ndarray
    jaw: np.ndarray
    tracked: np.ndarray | None


class Lips:
    """Where the motion of an utterance comes from: its recording, or the phone teacher."""

    def __init__(self, data: Path, head: HeadModel, tracked: Seq[Utterance]) -> None:
        self.gap = LipGap(head)
        self.jaw_open_angle = head.jaw_open_angle
        self.motions: dict[str, np.ndarray] = {}
        if tracked:
            tracker = TrackedCorpus(data / tracked[0].corpus, head, [u.motion for u in tracked if u.motion])
            self.motions = {u.id: _fit(tracker.motion(u.motion), u.frames) for u in tracked if u.motion}
        pairs = [
            (phone_features(u.phones, u.frames), self.motions[u.id]) for u in tracked if u.id in self.motions
        ]
        self.teacher, self.scale = train_teacher(pairs)

    def spoken(self, utterance: Utterance, tempo: tuple[int, int] = (1, 1)) -> Spoken:
        """The utterance at `tempo`[0] / `tempo`[1] times its speed."""
        up, down = tempo
        sound = utterance.samples()
        if up != down:
            sound = resample_poly(sound, down, up).astype(np.float32)
        frames = int(len(sound) / SAMPLE_RATE * FPS + 1e-6)
        sound = _fit(sound, frames * SAMPLES_PER_FRAME)
        phones: list[Phone] = [(p, a * down / up, b * down / up) for p, a, b in utterance.phones]
        known = self.motions.get(utterance.id)
        if known is None and utterance.mouth is not None:
            known = self.mouth(utterance)
        if known is None:
            return Spoken(sound, *label(self.teacher, self.scale, phones, frames, self.gap), None)
        moved = _paced(known, frames, up / down)
        exp, jaw = moved[:, :EXPRESSION_DIM], moved[:, -1]
        if phones:
            exp, jaw = articulate(exp, jaw, phones, self.gap)
        if utterance.id not in self.motions:
            return Spoken(sound, exp, jaw, None)
        whole = moved.copy()
        whole[:, :EXPRESSION_DIM], whole[:, -1] = exp, jaw
        return Spoken(sound, exp, jaw, whole)

    def mouth(self, utterance: Utterance) -> np.ndarray:
        """Motion (T, 54) of a recording that covers the mouth alone."""
        assert utterance.mouth is not None
        out = np.zeros((len(utterance.mouth), EXPRESSION_DIM + 4), np.float32)
        out[:, MOUTH] = np.clip(utterance.mouth[:, :-1], 0, 1)
        out[:, -1] = np.clip(utterance.mouth[:, -1], 0, 1) * self.jaw_open_angle
        return out


def _paced(motion: np.ndarray, frames: int, speed: float) -> np.ndarray:
    """Motion (T, D) at another speed, (frames, D)."""
    if speed == 1:
        return _fit(motion, frames)
    at = (np.arange(frames) + 0.5) * speed - 0.5
    known = np.arange(len(motion))
    return np.stack([np.interp(at, known, column) for column in motion.T], axis=1).astype(np.float32)


def _pause(before: Spoken, after: Spoken, rng: np.random.Generator) -> Spoken:
    """Room noise or digital silence between two utterances: the mouth closed, the rest on its way to what follows."""
    frames = int(rng.uniform(*PAUSE_SECONDS) * FPS)
    level = 0.0 if rng.random() < 0.4 else 10 ** rng.uniform(-4.5, -2.8)
    sound = (level * rng.standard_normal(frames * SAMPLES_PER_FRAME)).astype(np.float32)
    exp, jaw = np.zeros((frames, EXPRESSION_DIM), np.float32), np.zeros(frames, np.float32)
    tracked = None
    if before.tracked is not None and after.tracked is not None:
        way = np.linspace(0, 1, frames)[:, None]
        way = way * way * (3 - 2 * way)
        tracked = ((1 - way) * before.tracked[-1] + way * after.tracked[0]).astype(np.float32)
        tracked[:, MOUTH] = 0
        tracked[:, -1] = 0
    return Spoken(sound, exp, jaw, tracked)


def said(members: Seq[Spoken], rng: np.random.Generator) -> list[Spoken]:
    """Utterances one after the other, some with a pause between them."""
    out: list[Spoken] = []
    for k, spoken in enumerate(members):
        if k and rng.random() < PAUSED:
            out.append(_pause(members[k - 1], spoken, rng))
        out.append(spoken)
    return out


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
    into sequences, performs each in several styles and encodes each clean, augmented and in noise.
    """
    head = head or load_head()
    rng = np.random.default_rng(seed)
    training = {name: _training(data / name) for name in ROUNDS}
    lips = Lips(data, head, training["grid_s1"])
    voices = [u.samples() for name in ("kokoro_en", "speechocean") for u in training[name]]
    voices = [voices[i] for i in rng.choice(len(voices), min(BABBLE_CLIPS, len(voices)), replace=False)]

    features: list[np.ndarray] = []
    motions: list[np.ndarray] = []
    sequences: list[Sequence] = []
    feature_rows = motion_rows = 0
    for name, utterances in training.items():
        for turn in range(ROUNDS[name]):
            for k, members in enumerate(group(utterances, rng)):
                tempo = TEMPI[rng.integers(len(TEMPI))] if turn else (1, 1)
                parts = said([lips.spoken(u, tempo) for u in members], rng)
                sound = np.concatenate([part.sound for part in parts])
                exp = join([part.exp for part in parts])
                jaw = join([part.jaw[:, None] for part in parts])[:, 0]
                frames = len(exp)
                prosody = analyse(sound, frames)
                sequence = Sequence(f"{name}-{turn}-{k}", name, members[0].speaker, frames, [], [])
                for variant in (sound, augment(sound, rng, voices), in_noise(sound, rng, voices)):
                    sequence.feature_starts.append(feature_rows)
                    feature_rows += frames
                    features.append(encode(encoder, variant, frames).cpu().numpy().astype(np.float16))
                performances = [perform(exp, jaw, prosody, draw_factors(rng), rng) for _ in range(STYLES)]
                whole = [part.tracked for part in parts if part.tracked is not None]
                if len(whole) == len(parts):
                    performances.append(join(whole))
                for motion in performances:
                    sequence.motion_starts.append(motion_rows)
                    motion_rows += frames
                    motions.append(motion.astype(np.float32))
                sequences.append(sequence)
            print(f"{name} round {turn + 1}: {len(sequences)} sequences", flush=True)
    tail = np.concatenate([_last_sound(training["grid_s1"][0]), np.zeros(SILENCE_FRAMES * SAMPLES_PER_FRAME)])
    silence = encode(encoder, tail.astype(np.float32), len(tail) // SAMPLES_PER_FRAME)[-SILENCE_FRAMES:]
    TrainingSet(np.concatenate(features), np.concatenate(motions), sequences, silence.cpu().numpy()).save(out)


def _training(folder: Path) -> list[Utterance]:
    read = read_corpus if (folder / "index.json").is_file() else read_mouth_corpus
    return [u for u in read(folder) if not u.validation]


def _last_sound(utterance: Utterance) -> np.ndarray:
    samples = utterance.samples()
    return samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]


def _fit(values: np.ndarray, length: int) -> np.ndarray:
    """Cut, or hold the last value, to `length` rows."""
    if len(values) >= length:
        return values[:length]
    return np.concatenate([values, np.repeat(values[-1:], length - len(values), axis=0)])
