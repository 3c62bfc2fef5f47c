# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of any kind become a training set, resumably and all or nothing.

Every sequence is encoded into a file of its own in WORK/prepared, named by everything it depends on; what is there
already is not done again. When all are there, the set is written beside the old one and takes its place.

Recordings of two windows (200 frames) or more are sequences of their own; shorter ones of one speaker and split are
said one after the other, as the bundled model's are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import EXPRESSION_DIM, FPS, SpeechEncoderConfig
from ..errors import AudioError, Cancelled, DataError, DiffPoseTalkError, MotionError, OutputError
from ..files.array_file import read_arrays
from ..files.whole_file import whole_file
from ..files.whole_folder import whole_folder
from ..motion.arkit import EXPRESSIONS
from ..motion.clip import MotionClip, to_vectors
from ..networks.speech.encoder import SAMPLES_PER_FRAME, SpeechEncoder, encode
from ..sound.audio import SAMPLE_RATE, SILENCE_PEAK
from .own_model.sequences import MIN_FRAMES, SILENCE_FRAMES, join
from .recording import Recording, Skipped
from .recordings import check_length
from .training_set import Sequence, SetDescription, TrainingSet

LAYOUT = 1
"""Of the files in WORK/prepared."""
WHOLE = 200
"""Frames from which a recording is a sequence of its own: two windows."""
MAX_JAW = 1.0
"""Radians; no jaw opens further."""
SHARD_BYTES = 1 << 32

Convert = Callable[[MotionClip], MotionClip]


@dataclass
class Report:
    """What came of a preparation.

    sequences, minutes: in the set, for training and validation. reused: how many were there from before.
    skipped: recordings left out, with the reasons. notes: what is worth knowing of those that were taken.
    """

    sequences: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    minutes: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "validation": 0.0})
    speakers: int = 0
    recordings: int = 0
    reused: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """A few lines for people."""
        lines = [
            f"{self.recordings} recordings of {self.speakers} speaker(s): "
            f"{self.sequences['train']} sequences ({self.minutes['train']:.1f} min) for training, "
            f"{self.sequences['validation']} ({self.minutes['validation']:.1f} min) for validation"
        ]
        if self.reused:
            lines.append(f"{self.reused} sequences were prepared before")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"left out: {s.id}: {s.reason}" for s in self.skipped]
        return "\n".join(lines)


def prepare_recordings(
    recordings: Iterable[Recording],
    work: Path,
    encoder: SpeechEncoder | None,
    config: SpeechEncoderConfig,
    *,
    basis: str | None = None,
    keep_sound: bool = False,
    need_head: bool = True,
    convert: dict[str, Convert] | None = None,
    report: Report | None = None,
    on_progress: Callable[[int, str], None] | None = None,
) -> Report:
    """Build `WORK/set` of recordings; see `training_set` for what it holds.

    Args:
        recordings: taken one at a time.
        work: folder of the set and of what is kept to resume (`prepared`, which may be removed afterwards).
        encoder: gives the features; None keeps the sound alone, for training an encoder.
        config: of the encoder, for the set's description.
        basis: of the set; None takes that of the first recording.
        keep_sound: keep the sound beside the features.
        need_head: leave out motion without head rotation.
        convert: by basis, how to convert motion of another one; without it, such recordings are left out.
        report: to add to, with what was skipped while reading.
        on_progress: told (sequences done, name of the last).

    Raises:
        DataError: `data_empty`; nothing is left for training.
        OutputError: the work folder cannot be written, or the disk is full.
        Cancelled: of `on_progress`; what was done until then is kept for the next time, the old set stays.
    """
    report = report or Report()
    shards = _Shards(work / "prepared", encoder, config, keep_sound or encoder is None)
    done: dict[Path, _Shard] = {}
    short: dict[tuple[str, str], list[Recording]] = {}
    seen: set[str] = set()
    taken: dict[str, str] = {}  # speakers by recording

    def add(members: list[Recording]) -> None:
        shard = shards.of(members)
        if shard.path in done:  # one of them might be trained on and the other validated on
            raise DataError(f"it has the same sound and motion as {done[shard.path].id}.")
        done[shard.path] = shard
        report.reused += shard.reused
        if on_progress is not None:
            on_progress(len(done), members[0].id)

    for recording in recordings:
        try:
            if recording.id in seen:
                raise DataError("another recording has the same name.")
            seen.add(recording.id)
            basis = basis or (recording.motion.basis if recording.motion is not None else None)
            usable = _usable(recording, basis, need_head, convert or {})
            if len(_motion(usable)) >= WHOLE:
                add([usable])
            else:
                _aligned(usable)  # a group should not fail for one of its members
                short.setdefault((usable.speaker, usable.split), []).append(usable)
                continue
        except (OutputError, Cancelled):
            raise
        except DiffPoseTalkError as error:
            report.skipped.append(Skipped(recording.id, error.message))
            continue
        taken[recording.id] = recording.speaker
    for (speaker, split), members in sorted(short.items()):
        frames = sum(len(_motion(m)) for m in members)
        if frames < WHOLE:
            reason = f"{speaker!r} has {frames} frames in all for {split}; {WHOLE} are needed."
            report.skipped += [Skipped(m.id, reason) for m in members]
            continue
        for group in _groups(members):
            try:
                add(group)
            except DataError as error:
                report.skipped += [Skipped(m.id, error.message) for m in group]
                continue
            taken.update((m.id, speaker) for m in group)
    report.recordings, report.speakers = len(taken), len(set(taken.values()))
    if not any(shard.split == "train" for shard in done.values()):
        if report.recordings:
            text = f"All {report.recordings} usable recordings are for validation; none is left to train on."
        else:
            first = (
                f" The first: {report.skipped[0].id}: {report.skipped[0].reason}" if report.skipped else ""
            )
            text = f"No recording can be used; {len(report.skipped)} were left out.{first}"
        raise DataError(text, "data_empty")
    _assemble(
        work / "set", sorted(done.values(), key=lambda s: s.id), shards, config, basis or "arkit", report
    )
    return report


def _usable(
    recording: Recording, basis: str | None, need_head: bool, convert: dict[str, Convert]
) -> Recording:
    """The recording with motion in the set's basis. Raises DiffPoseTalkError with the reason why not."""
    motion = _motion(recording)
    if need_head and motion.provenance.get("head_rotation") is False:
        raise MotionError("its motion has no head rotation (--no-head-pose takes it all the same).")
    if abs(motion.fps - FPS) > 1e-3:
        raise MotionError(f"its motion has {motion.fps:g} frames a second, not 25.")
    if not (np.isfinite(motion.exp).all() and np.isfinite(motion.pose).all()):
        raise MotionError("its motion holds values that are not finite.")
    jaw = np.abs(motion.pose[:, 3]).max()
    if jaw > MAX_JAW:
        raise MotionError(f"its jaw opens by {jaw:.1f} radians: damaged, or degrees.")
    if motion.exp.std(axis=0).max() < 1e-6 and np.ptp(motion.pose[:, 3]) < 1e-6:
        raise MotionError("nothing moves in it.")
    if motion.basis == "arkit" and (motion.exp.min() < -0.1 or motion.exp.max() > 1.5):
        raise MotionError(
            f"its ARKit coefficients lie in {motion.exp.min():.2f} to {motion.exp.max():.2f}; 0 to 1 is expected."
        )
    if basis is not None and motion.basis != basis:
        if motion.basis not in convert:
            raise MotionError(
                f"it is in the {motion.basis} basis, the set in {basis}; --flame-head names the head to convert by."
            )
        motion = convert[motion.basis](motion)
    if motion.basis == "arkit":
        motion = replace(motion, exp=np.clip(motion.exp, 0, 1))
    return replace(recording, motion=motion)


def _motion(recording: Recording) -> MotionClip:
    if recording.motion is None:
        raise MotionError("it has sound but no motion.")
    return recording.motion


def _groups(members: list[Recording]) -> Iterator[list[Recording]]:
    """Short recordings in groups of MIN_FRAMES or more; the last is filled up with the first ones."""
    members = sorted(members, key=lambda m: m.id)
    current: list[Recording] = []
    frames = 0
    for number, member in enumerate(members * 2):
        if number >= len(members) and not current:
            return
        current.append(member)
        frames += len(_motion(member))
        if frames >= MIN_FRAMES:
            yield current
            current, frames = [], 0


@dataclass(frozen=True)
class _Shard:
    """A prepared sequence on disk."""

    path: Path
    id: str
    speaker: str
    split: str
    frames: int
    has_shape: bool
    reused: bool


class _Shards:
    """The folder of prepared sequences; a file is named by all that its content depends on."""

    def __init__(
        self, folder: Path, encoder: SpeechEncoder | None, config: SpeechEncoderConfig, sound: bool
    ) -> None:
        self.folder, self.encoder, self.sound = folder, encoder, sound
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write into “{folder}”: {error.strerror}.") from error
        self.identity = json.dumps([LAYOUT, asdict(config), sound, _fingerprint(encoder)])

    def of(self, members: list[Recording]) -> _Shard:
        """The sequence of these recordings, prepared now or before.

        Raises:
            DiffPoseTalkError: their sound cannot be used; OutputError: it cannot be written.
        """
        sounds, motions = zip(*(_aligned(member) for member in members), strict=True)
        digest = hashlib.sha256(self.identity.encode())
        for array in (*sounds, *motions):
            digest.update(hashlib.sha256(np.ascontiguousarray(array).data).digest())
        shapes = [shape for member in members if (shape := _motion(member).shape) is not None]
        shape = np.mean(shapes, axis=0).astype(np.float32) if len(shapes) == len(members) else None
        if shape is not None:
            digest.update(shape.tobytes())
        path = self.folder / f"{digest.hexdigest()[:32]}.npz"
        name = members[0].id if len(members) == 1 else f"{members[0].id}+{len(members) - 1}"
        motion = join([np.array(m) for m in motions]) if len(motions) > 1 else motions[0]
        first, there = members[0], path.is_file()
        shard = _Shard(path, name, first.speaker, first.split, len(motion), shape is not None, there)
        if not shard.reused:
            self._write(path, np.concatenate(sounds), motion, shape)
        return shard

    def _write(self, path: Path, sound: np.ndarray, motion: np.ndarray, shape: np.ndarray | None) -> None:
        arrays: dict[str, np.ndarray] = {"motion": motion}
        if self.encoder is not None:
            features = encode(self.encoder, sound, len(motion))
            arrays["features"] = features.cpu().numpy().astype(np.float16)
            if not np.isfinite(arrays["features"]).all():
                raise AudioError("the speech encoder gives values that are not finite for it.")
        if self.sound:
            scaled = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
            arrays["sound"] = scaled.reshape(len(motion), SAMPLES_PER_FRAME)
        if shape is not None:
            arrays["shape"] = shape
        with whole_file(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def read(self, shard: _Shard) -> dict[str, np.ndarray]:
        """The arrays of a sequence. Raises DataError if the file is damaged; it is removed, to be made again."""
        try:
            arrays = read_arrays(shard.path, {"motion", "features", "sound", "shape"}, SHARD_BYTES)
            if len(arrays["motion"]) != shard.frames:
                raise ValueError("of another length")
            return arrays
        except (OSError, ValueError, KeyError) as error:
            shard.path.unlink(missing_ok=True)
            text = f"“{shard.path}” was damaged and has been removed; run the command again."
            raise DataError(text) from error

    def silence(self, first: dict[str, np.ndarray]) -> np.ndarray | None:
        """Features (100, C) of silence after up to four seconds of a sequence's sound, or noise if it was not kept."""
        if self.encoder is None:
            return None
        if "sound" in first:
            after = (first["sound"][:SILENCE_FRAMES].reshape(-1) / 32767).astype(np.float32)
        else:
            noise = np.random.default_rng(0).standard_normal(SILENCE_FRAMES * SAMPLES_PER_FRAME)
            after = 0.05 * noise.astype(np.float32)
        tail = np.concatenate([after, np.zeros(SILENCE_FRAMES * SAMPLES_PER_FRAME, np.float32)])
        features = encode(self.encoder, tail, len(tail) // SAMPLES_PER_FRAME)
        return features[-SILENCE_FRAMES:].cpu().numpy()


def _fingerprint(encoder: SpeechEncoder | None) -> str:
    digest = hashlib.sha256()
    weights: Any = encoder
    tensors: dict[str, torch.Tensor] = weights.state_dict() if hasattr(weights, "state_dict") else {}
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()


def _aligned(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Sound (frames · 640,) and motion (frames, 56): the vectors of the paper and the jaw about y and z."""
    motion, sound = _motion(recording), recording.sound()
    check_length(motion, len(sound) / SAMPLE_RATE, recording.id)
    if np.abs(sound).max(initial=0) < SILENCE_PEAK:
        raise AudioError("its sound is silent.", "audio_silent")
    frames = min(len(motion), len(sound) // SAMPLES_PER_FRAME)
    vectors = np.concatenate([to_vectors(motion, EXPRESSION_DIM + 4), motion.pose[:, 4:6]], axis=1)
    return sound[: frames * SAMPLES_PER_FRAME], vectors[:frames].astype(np.float32)


def _assemble(
    place: Path, done: list[_Shard], shards: _Shards, config: SpeechEncoderConfig, basis: str, report: Report
) -> None:
    """Write the set of these sequences beside `place` and put it there."""
    first = shards.read(next(s for s in done if s.split == "train"))
    rows = sum(shard.frames for shard in done)
    with whole_folder(place) as part:
        kinds = {"motion": np.float32, "features": np.float16, "sound": np.int16}
        widths = {name: first[name].shape[1] for name in kinds if name in first}
        widths["motion"] = EXPRESSION_DIM + 4
        arrays = {}
        for name, width in widths.items():
            arrays[name] = np.lib.format.open_memmap(part / f"{name}.npy", "w+", kinds[name], (rows, width))
        with_shapes = all(shard.has_shape for shard in done)
        shapes = np.zeros((len(done), 100), np.float32)
        sequences, row, statistics = [], 0, _Statistics()
        for number, shard in enumerate(done):
            content = shards.read(shard)
            motion = content["motion"]
            for name, width in widths.items():
                arrays[name][row : row + shard.frames] = content[name][:, :width]
            if with_shapes:
                shapes[number] = content["shape"]
            if shard.split == "train":
                statistics.add(motion, content.get("shape"))
            about = (shard.id, "recordings", shard.speaker, shard.frames)
            sequences.append(Sequence(*about, [row], [row], shard.split == "validation"))
            row += shard.frames
            report.sequences[shard.split] += 1
            report.minutes[shard.split] += shard.frames / FPS / 60
        while arrays:  # Windows does not rename what is still open
            arrays.popitem()[1].flush()
        if with_shapes:
            np.save(part / "shapes.npy", shapes)
        silence = shards.silence(first)
        if silence is not None:
            np.save(part / "silence.npy", silence)
        described = SetDescription(
            basis,
            EXPRESSIONS if basis == "arkit" else tuple(f"Exp{i:03d}" for i in range(EXPRESSION_DIM)),
            statistics.jaw_rest() if basis == "flame" else (0.0, 0.0),
            config,
        )
        np.savez(part / "stats_train.npz", **statistics.released())  # type: ignore[arg-type]
        for name, data in {
            "set.json": asdict(described),
            "report.json": asdict(report),
            "sequences.json": [asdict(s) for s in sequences],
        }.items():
            (part / name).write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
        TrainingSet.load(part)  # what training will see must load


class _Statistics:
    """Means and deviations of the training sequences, as the released code's `stats_train.npz` has them."""

    def __init__(self) -> None:
        self.count = 0
        self.sums = np.zeros((2, EXPRESSION_DIM + 6))
        self.shapes: list[np.ndarray] = []

    def add(self, motion: np.ndarray, shape: np.ndarray | None) -> None:
        """Count a sequence (T, 56)."""
        values = motion.astype(np.float64)
        self.count += len(values)
        self.sums += values.sum(axis=0), np.square(values).sum(axis=0)
        self.shapes.append(np.zeros(100) if shape is None else shape)

    def jaw_rest(self) -> tuple[float, float]:
        """Mean jaw rotation about y and z."""
        y, z = self.sums[0, -2:] / self.count
        return float(y), float(z)

    def released(self) -> dict[str, np.ndarray]:
        """exp, pose (3 head, 3 jaw) and shape: mean and std, float32."""
        mean = self.sums[0] / self.count
        std = np.sqrt(np.maximum(self.sums[1] / self.count - mean**2, 0))
        shapes = np.stack(self.shapes)
        values: dict[str, np.ndarray] = {}
        for kind, moved, shape in (("mean", mean, shapes.mean(axis=0)), ("std", std, shapes.std(axis=0))):
            values |= {f"exp_{kind}": moved[:50], f"pose_{kind}": moved[50:], f"shape_{kind}": shape}
        return {name: value.astype(np.float32) for name, value in values.items()}
