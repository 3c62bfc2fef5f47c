# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings into a training set: what it holds, what is left out and why, resuming, and never half a set."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.made_recordings import clip, sound
from support.released_lmdb import clip_arrays, entries, write_lmdb
from support.small_networks import SMALL_HUBERT

from diffposetalk.cli import main
from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import AudioError, Cancelled, DataError, OutputError
from diffposetalk.files import whole_folder
from diffposetalk.motion.arkit import EXPRESSIONS
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.networks.speech.hubert import HubertSpeechEncoder
from diffposetalk.train.prepare import prepare_recordings
from diffposetalk.train.recording import Recording, Split
from diffposetalk.train.training_set import TrainingSet

CONFIG = SpeechEncoderConfig(layers=(1,), width=32, heads=2, depth=1)


class Counting:
    """An encoder whose features are the mean and the loudness of each frame's sound; counts what it is given."""

    feature_dim = 2

    def __init__(self) -> None:
        self.calls = 0

    def features(self, samples: np.ndarray, frames: int, on_chunk: object = None) -> Iterator[torch.Tensor]:
        self.calls += 1
        rows = torch.from_numpy(np.pad(samples, (0, frames * 640 - len(samples))).reshape(frames, 640).copy())
        yield torch.stack([rows.mean(1), rows.abs().mean(1)], 1)


def recording(
    name: str, frames: int = 250, speaker: str = "Ann", split: Split = "train", seed: int = 0
) -> Recording:
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    pose = 0.1 * rng.standard_normal((frames, 6)).astype(np.float32)
    pose[:, 3] = np.abs(pose[:, 3])
    motion = MotionClip(rng.random((frames, 50), np.float32), pose, 25.0, "arkit")
    samples = (0.1 * rng.standard_normal(frames * 640)).astype(np.float32)
    return Recording(name, speaker, split, lambda: samples, motion)


def test_long_recordings_are_sequences_of_their_own(tmp_path: Path) -> None:
    given = [recording("b ü", 300), recording("a", 250, "Bob", "validation")]
    report = prepare_recordings(given, tmp_path, Counting(), CONFIG, keep_sound=True)
    data = TrainingSet.load(tmp_path / "set")
    assert [(s.id, s.speaker, s.frames, s.validation) for s in data.sequences] == [
        ("a", "Bob", 250, True),
        ("b ü", "Ann", 300, False),
    ]
    for s, r in zip(data.sequences, [given[1], given[0]], strict=True):
        motion, rows = r.motion, slice(s.feature_starts[0], s.feature_starts[0] + s.frames)
        assert motion is not None and data.features is not None and data.sound is not None
        moved = data.motion[s.motion_starts[0] :][: s.frames]
        assert np.array_equal(moved[:, :50], motion.exp) and np.array_equal(moved[:, 50:], motion.pose[:, :4])
        heard = r.sound().reshape(-1, 640)
        assert np.abs(data.sound[rows] / 32767 - heard).max() < 1e-4
        assert np.abs(data.features[rows, 1] - np.abs(heard).mean(1)).max() < 1e-3
    assert data.silence is not None and data.silence.shape == (100, 2) and not data.silence.any()
    assert data.description.basis == "arkit" and data.description.expression_names == EXPRESSIONS
    assert data.description.speech_encoder == CONFIG and data.shapes is None
    assert report.sequences == {"train": 1, "validation": 1} and report.minutes["train"] == pytest.approx(0.2)
    with np.load(tmp_path / "set" / "stats_train.npz") as stats:
        motion = given[0].motion
        assert motion is not None
        assert np.allclose(stats["exp_mean"], motion.exp.mean(0), atol=1e-5)
        assert np.allclose(stats["pose_std"], motion.pose.std(0), atol=1e-5)


def test_short_ones_of_a_speaker_are_joined(tmp_path: Path) -> None:
    given = [recording(f"s{k:02d}", 75) for k in range(8)] + [recording("v", 75, split="validation")]
    given += [recording(f"o{k}", 75, "Bob") for k in range(2)]
    report = prepare_recordings(given, tmp_path, Counting(), CONFIG)
    data = TrainingSet.load(tmp_path / "set")
    assert [(s.id, s.frames) for s in data.sequences] == [("s00+2", 225), ("s03+2", 225), ("s06+2", 225)]
    first = given[0].motion
    assert first is not None
    assert np.array_equal(data.motion[:60, :50], first.exp[:60])  # but for the easing at the seam
    assert np.abs(np.diff(data.motion[70:80, 53])).max() < 0.5
    assert {s.id for s in report.skipped} == {"v", "o0", "o1"}
    assert all("200 are needed" in s.reason for s in report.skipped)


def bad(name: str, **changes: object) -> Recording:
    made = recording(name)
    assert made.motion is not None
    return replace(made, motion=replace(made.motion, **changes))  # type: ignore[arg-type]


def unreadable() -> np.ndarray:
    raise AudioError("“x.wav” is cut off.", "audio_truncated")


def test_what_is_left_out_and_why(tmp_path: Path) -> None:
    nan = np.full((250, 50), np.nan, np.float32)
    jaw = np.zeros((250, 6), np.float32)
    jaw[:, 3] = 20
    given = [
        recording("good"),
        recording("good"),
        replace(recording("good"), id="copy", split="validation"),
        replace(recording("mute"), motion=None),
        bad("nan", exp=nan),
        bad("wide", exp=np.full((250, 50), 3, np.float32)),
        bad("degrees", pose=jaw),
        bad("still", exp=np.zeros((250, 50), np.float32), pose=np.zeros((250, 6), np.float32)),
        bad("rate", fps=30.0),
        bad("flame", basis="flame"),
        bad("headless", provenance={"head_rotation": False}),
        replace(recording("silent"), sound=lambda: np.zeros(160_000, np.float32)),
        replace(recording("short sound"), sound=lambda: np.full(16_000, 0.1, np.float32)),
        replace(recording("cut"), sound=unreadable),
        replace(recording("short cut", 75), sound=unreadable),
    ]
    report = prepare_recordings(given, tmp_path, Counting(), CONFIG)
    assert [s.id for s in TrainingSet.load(tmp_path / "set").sequences] == ["good"]
    reasons = {s.id: s.reason for s in report.skipped}
    expected = {
        "good": "same name",
        "copy": "same sound and motion as good",
        "mute": "no motion",
        "nan": "not finite",
        "wide": "0 to 1",
        "degrees": "degrees",
        "still": "nothing moves",
        "rate": "30 frames a second",
        "flame": "flame basis",
        "headless": "no head rotation",
        "silent": "silent",
        "short sound": "sound 1.00 s",
        "cut": "cut off",
        "short cut": "cut off",
    }
    assert reasons.keys() == expected.keys()
    for name, text in expected.items():
        assert text in reasons[name], (name, reasons[name])
    told = json.loads((tmp_path / "set" / "report.json").read_text())
    assert {s["id"] for s in told["skipped"]} == set(expected)
    taken = prepare_recordings([given[9]], tmp_path / "n", Counting(), CONFIG, need_head=False)
    assert taken.sequences["train"] == 1


def test_nothing_left_is_an_error_and_keeps_the_old_set(tmp_path: Path) -> None:
    prepare_recordings([recording("a")], tmp_path, Counting(), CONFIG)
    before = (tmp_path / "set" / "sequences.json").read_bytes()
    with pytest.raises(DataError, match=r"No recording can be used; 1 were left out. The first: b"):
        prepare_recordings([replace(recording("b"), motion=None)], tmp_path, Counting(), CONFIG)
    with pytest.raises(DataError, match="for validation"):
        prepare_recordings([recording("a", split="validation")], tmp_path, Counting(), CONFIG)
    assert (tmp_path / "set" / "sequences.json").read_bytes() == before


def test_resumes_and_remakes_what_changed(tmp_path: Path) -> None:
    given = [recording(f"r{k}") for k in range(5)]
    encoder = Counting()

    def stop_after_three(count: int, name: str) -> None:
        if count == 3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        prepare_recordings(given, tmp_path, encoder, CONFIG, on_progress=stop_after_three)
    assert encoder.calls == 3 and not (tmp_path / "set").exists()
    report = prepare_recordings(given, tmp_path, encoder, CONFIG)
    assert encoder.calls == 3 + 2 + 1 and report.reused == 3  # and the silence
    clean = tmp_path / "clean"
    prepare_recordings(given, clean, Counting(), CONFIG)
    for name in ("motion.npy", "features.npy", "sequences.json", "silence.npy"):
        assert (clean / "set" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()
    given[2] = recording("r2", seed=1)
    assert prepare_recordings(given, tmp_path, encoder, CONFIG).reused == 4
    other = replace(CONFIG, layers=(0, 1))
    assert prepare_recordings(given, tmp_path, encoder, other).reused == 0


def test_a_set_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_recordings([recording("a")], tmp_path, Counting(), CONFIG)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(whole_folder, "_replace", fail)
        with pytest.raises(OutputError, match="No space left"):
            prepare_recordings([recording("a"), recording("b")], tmp_path, Counting(), CONFIG)
    assert len(TrainingSet.load(tmp_path / "set").sequences) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"set", "prepared"}
    shard = next((tmp_path / "prepared").iterdir())
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(DataError, match="run the command again"):
        prepare_recordings([recording("a"), recording("b")], tmp_path, Counting(), CONFIG)
    prepare_recordings([recording("a"), recording("b")], tmp_path, Counting(), CONFIG)
    assert len(TrainingSet.load(tmp_path / "set").sequences) == 2


def test_features_of_hubert(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = HubertSpeechEncoder.from_config(**SMALL_HUBERT).eval()
    width = encoder.feature_dim
    config = SpeechEncoderConfig(kind="hubert", layers=(1,), width=width, heads=2, depth=1)
    given = [recording("a", 210)]
    prepare_recordings(given, tmp_path, encoder, config, keep_sound=True)
    data = TrainingSet.load(tmp_path / "set")
    assert data.features is not None and data.sound is not None and data.silence is not None
    assert data.features.shape == (210, width) and data.description.speech_encoder.kind == "hubert"
    expected = encode(encoder, given[0].sound(), 210).numpy()
    assert np.abs(data.features - expected).max() < 1e-2
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    assert prepare_recordings(given, tmp_path, encoder, config, keep_sound=True).reused == 0  # other weights


def test_flame_data_keeps_identities_and_the_jaws_rest(tmp_path: Path) -> None:
    made = recording("f")
    assert made.motion is not None
    pose = made.motion.pose.copy()
    pose[:, 4], pose[:, 5] = 0.01, -0.02
    shape = np.arange(100, dtype=np.float32)
    motion = replace(made.motion, basis="flame", shape=shape, pose=pose, exp=5 * made.motion.exp)
    prepare_recordings([replace(made, motion=motion)], tmp_path, None, CONFIG)
    data = TrainingSet.load(tmp_path / "set")
    assert data.features is None and data.sound is not None and data.sound.shape == (250, 640)
    assert data.shapes is not None and np.array_equal(data.shapes, shape[None])
    assert data.description.basis == "flame" and data.description.expression_names[49] == "Exp049"
    assert data.description.jaw_rest == pytest.approx((0.01, -0.02), abs=1e-6)


def test_motion_of_another_basis_is_converted_or_left_out(tmp_path: Path) -> None:
    def halved(motion: MotionClip) -> MotionClip:
        return replace(motion, basis="arkit", exp=motion.exp / 2)

    given = [recording("a"), bad("b", basis="flame", pose=recording("b", seed=2).motion.pose)]  # type: ignore[union-attr]
    report = prepare_recordings(given, tmp_path, Counting(), CONFIG, convert={"flame": halved})
    data = TrainingSet.load(tmp_path / "set")
    assert not report.skipped and data.description.basis == "arkit" and len(data.sequences) == 2
    motion = given[1].motion
    assert motion is not None and np.array_equal(data.motion[250:, :50], motion.exp / 2)
    other = prepare_recordings(given, tmp_path, Counting(), CONFIG, basis="flame")
    assert [s.id for s in other.skipped] == ["a"] and "--flame-head" in other.skipped[0].reason


def test_command_line(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "Meine Aufnahmen ü"
    for speaker in ("Ann", "Bob"):
        for k in range(4):
            sound(root / speaker / f"{k}.wav", 9.0, seed=len(list(root.rglob("*.wav"))))
            clip(root / speaker / f"{k}.npz", 225)
    sound(root / "no motion.wav")
    clip(root / "Ann" / "3.npz", 100)
    work = tmp_path / "work"
    command = [
        "train",
        "prepare",
        str(root),
        "--work",
        str(work),
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
    ]
    assert main([*command, "--validation", "0.3"]) == 0
    told = capsys.readouterr().out
    assert (
        "7 recordings of 2 speaker(s)" in told
        and "left out: Ann/3:" in told
        and "left out: no motion:" in told
    )
    data = TrainingSet.load(work / "set")
    assert len(data.sequences) == 7 and data.features is not None and data.features.shape[1] == 64
    assert data.description.speech_encoder.width == 32
    assert main(["train", "prepare", str(tmp_path / "none"), "--work", str(work)]) == 2
    assert "error: There is nothing at" in capsys.readouterr().err
    assert main(["train", "prepare", str(root), "--work", str(work), "--validation", "1"]) == 2


def test_command_line_on_the_released_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lmdb")
    folder = write_lmdb(
        tmp_path / "lmdb", entries("TH_1/000", clip_arrays(230)) | entries("TH_2/000", clip_arrays(210))
    )
    (tmp_path / "train.txt").write_text("TH_1/000\n")
    (tmp_path / "val.txt").write_text("TH_2/000\n")
    command = ["train", "prepare", str(folder), "--work", str(tmp_path / "w"), "--speech-encoder", "none"]
    assert main(command) == 0, capsys.readouterr().err
    data = TrainingSet.load(tmp_path / "w" / "set")
    assert [(s.speaker, s.validation) for s in data.sequences] == [("TH_1", False), ("TH_2", True)]
    assert data.description.basis == "flame" and data.shapes is not None and data.sound is not None
