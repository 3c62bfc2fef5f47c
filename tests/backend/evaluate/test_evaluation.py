# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation from end to end on recordings and motion made here: known errors, runs, baselines, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.paths import BUNDLED_HEAD

from diffposetalk.cli import main
from diffposetalk.errors import DataError, ModelError, MotionError
from diffposetalk.evaluate.evaluation import evaluate
from diffposetalk.evaluate.phone_average import POINTS, fit_phone_average
from diffposetalk.evaluate.references import Reference, passed_over, read_references, spread, with_noise
from diffposetalk.evaluate.subjects import ModelSubject, MotionFolder, PhoneAverageSubject, Recorded
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import JAW, HeadModel, load_head
from diffposetalk.motion.arkit import EXPRESSIONS, INDEX
from diffposetalk.motion.clip import MotionClip
from diffposetalk.motion.dynamics import head_amplitude

PHONES = [
    ["", "SIL", 0.0, 0.4],
    ["bob", "B", 0.4, 0.5],
    ["bob", "AA", 0.5, 0.8],
    ["bob", "P", 0.8, 0.9],
    ["woo", "W", 0.9, 1.1],
    ["woo", "UW", 1.1, 1.4],
    ["eat", "IY", 1.4, 1.7],
    ["", "SIL", 1.7, 3.0],
]
FRAMES = 75


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(BUNDLED_HEAD)


@pytest.fixture(scope="module")
def regions(head: HeadModel) -> FaceRegions:
    return FaceRegions(head)


def spoken(speed: float, seed: int) -> MotionClip:
    """A clip that closes on B and P, opens on AA, puckers on W UW, blinks once and nods."""
    time = (np.arange(FRAMES) + 0.5) / 25
    exp, pose = np.zeros((FRAMES, 50), np.float32), np.zeros((FRAMES, 6), np.float32)
    pose[:, 3] = 0.2 * np.clip(np.interp(time, [0.5, 0.6, 0.7, 0.8], [0, 1, 1, 0], 0, 0), 0, 1)
    exp[:, INDEX["mouthPucker"]] = np.interp(time, [0.9, 1.0, 1.35, 1.45], [0, 0.6, 0.6, 0], 0, 0)
    exp[40:44, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 0.9
    rng = np.random.default_rng(seed)
    pose[:, 0] = 0.05 * np.sin(2 * np.pi * speed * time + rng.uniform(0, 6))
    pose[:, 1] = 0.02 * np.cos(2 * np.pi * 0.7 * speed * time)
    return MotionClip(exp, pose, 25.0, "arkit", None, EXPRESSIONS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with motion and phones; one is marked for training."""
    folder = tmp_path_factory.mktemp("data") / "späte Aufnahmen"
    rng = np.random.default_rng(0)
    rows = []
    for index, name in enumerate(("a", "b", "c", "d")):
        place = folder / ("train" if name == "d" else "validation") / "ann"
        place.mkdir(parents=True, exist_ok=True)
        sound = 0.1 * rng.standard_normal(48_000)
        soundfile.write(place / f"{name}.wav", sound, 16_000)
        spoken(0.8 + 0.3 * index, index).save(place / f"{name}.npz")
        rows.append({"id": f"{place.relative_to(folder).as_posix()}/{name}", "phones": PHONES})
    (folder / "index.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def references(data: Path, head: HeadModel) -> list[Reference]:
    [found] = read_references(data, head).values()
    return found


class Altered:
    """The recorded motion with something done to it, in as many runs as there are amounts."""

    name = "altered"

    def __init__(self, *changes: object) -> None:
        self.changes, self.runs, self.notes = changes, len(changes), []

    def takes(self, references):
        for index, reference in enumerate(references):
            clips = []
            for change in self.changes:
                clip = MotionClip(reference.motion.exp.copy(), reference.motion.pose.copy())
                change(clip)
                clips.append(clip)
            yield index, clips


def test_references_are_the_validation_clips_with_their_phones(references: list[Reference]):
    assert [r.id for r in references] == [f"validation/ann/{n}" for n in "abc"]
    assert {r.speaker for r in references} == {"ann"} and references[0].phones[1] == ("B", 0.4, 0.5)
    assert references[0].audio().frames == FRAMES and len(references[0].motion) == FRAMES


def test_training_clips_and_limits(data: Path, head: HeadModel):
    [training] = read_references(data, head, split="train").values()
    assert [r.id for r in training] == ["train/ann/d"]
    [few] = read_references(data, head, limit=2).values()
    assert [r.id[-1] for r in few] == ["a", "c"]
    assert spread(list(range(10)), 3) == [0, 4, 9] and spread([1], 5) == [1]


def test_noise_has_the_ratio_and_is_the_same_each_time(references: list[Reference]):
    noisy = with_noise(references[0], 10.0)
    clean, heard = references[0].samples(), noisy.samples()
    noise = heard - clean
    assert 10 * np.log10((clean**2).mean() / (noise**2).mean()) == pytest.approx(10, abs=0.01)
    assert (noisy.samples() == heard).all() and noisy.motion is references[0].motion
    assert (with_noise(references[1], 10.0).samples() - references[1].samples() != noise).any()
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[300:600].mean() / power[3000:6000].mean() == pytest.approx(10, rel=0.25)  # pink


def test_the_recorded_motion_itself(references: list[Reference], regions: FaceRegions):
    figures = evaluate(Recorded(), references, regions)
    value = {key: estimate.mean for key, estimate in figures.estimates.items()}
    assert value["closure"] == 1.0 and value["opening"] == 1.0
    assert value["blinks"] == pytest.approx(20, rel=0.01)  # one in 3 s
    assert value["rounded"] == pytest.approx(0.6, abs=0.02) and value["unrounded"] == 0.0
    assert value["narrowing"] > 1 and "lve" not in value and "rounding_ratio" not in value
    again = evaluate(Altered(lambda clip: None), references, regions)
    value = {key: estimate.mean for key, estimate in again.estimates.items()}
    assert value["lve"] == pytest.approx(0, abs=1e-6) and value["mod"] == pytest.approx(0, abs=1e-6)
    assert value["fdd"] == pytest.approx(0, abs=1e-6) and value["ba"] == 1.0 and value["opening_lag"] == 0
    assert value["opening_variance"] == pytest.approx(1) and value["ba_control"] < 1


def test_lve_of_a_known_turn_of_the_jaw(references: list[Reference], regions: FaceRegions, head: HeadModel):
    """A jaw held open by an angle moves a vertex by at most the chord about the joint, and by what skinning says."""
    angle = 0.1
    still = MotionClip(np.zeros((FRAMES, 50), np.float32), np.zeros((FRAMES, 6), np.float32))
    rest = [Reference(r.id, r.speaker, r.samples, still, ()) for r in references]

    def open_jaw(clip: MotionClip) -> None:
        clip.pose[:, 3] = angle

    figures = evaluate(Altered(open_jaw), rest, regions)
    template = head.v_template.numpy().astype(float)
    joint = (head.J_regressor.numpy() @ template)[JAW]
    lips = np.asarray(head.arrays["mask_lips"])
    weight = head.weights.numpy()[lips, JAW][:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    feature = np.zeros(36)
    feature[9:18] = (turn - np.eye(3)).ravel()
    corrected = template[lips] + np.asarray(head.arrays["posedirs"])[lips] @ feature
    moved = weight * ((corrected - joint) @ turn.T + joint) + (1 - weight) * corrected - template[lips]
    expected = 1e3 * np.linalg.norm(moved, axis=1).max()
    assert figures.estimates["lve"].mean == pytest.approx(expected, rel=1e-3) and expected > 3


def test_fdd_and_its_sign_when_the_brows_hold_still(references: list[Reference], regions: FaceRegions):
    brow = INDEX["browInnerUp"]

    def raised(clip: MotionClip) -> None:
        clip.exp[::2, brow] = 0.5

    def more(clip: MotionClip) -> None:
        clip.exp[::2, brow] = 1.0

    livelier = evaluate(Altered(raised), references, regions).estimates
    assert livelier["fdd_signed"].mean < 0 and livelier["fdd"].mean == pytest.approx(
        -livelier["fdd_signed"].mean
    )
    assert evaluate(Altered(more), references, regions).estimates["fdd"].mean > livelier["fdd"].mean
    assert livelier["lve"].mean < 0.05


def test_a_late_mouth_is_found_late(references: list[Reference], regions: FaceRegions):
    def late(clip: MotionClip) -> None:
        clip.exp[:], clip.pose[:] = np.roll(clip.exp, 3, axis=0), np.roll(clip.pose, 3, axis=0)

    on_time = evaluate(Recorded(), references, regions).estimates["phone_lag"].mean
    figures = evaluate(Altered(late), references, regions).estimates
    assert figures["opening_lag"].mean == 3 and figures["opening_correlation"].mean == pytest.approx(1)
    assert figures["phone_lag"].mean - on_time == pytest.approx(3, abs=0.1)


def test_runs_give_intervals_and_diversity(references: list[Reference], regions: FaceRegions):
    def turned(angle: float):
        def change(clip: MotionClip) -> None:
            clip.pose[:, :3] = [angle, 0, 0]
            clip.exp[:, INDEX["jawLeft"]] = 5 * angle

        return change

    figures = evaluate(Altered(turned(0.0), turned(0.02), turned(0.05)), references, regions, keep=True)
    assert figures.estimates["div_hp"].mean == pytest.approx(np.degrees(0.1) / 3, rel=1e-4)
    assert figures.estimates["div_exp"].mean > 0 and figures.estimates["div_exp"].half_width is None
    assert figures.estimates["lve"].runs == 3 and figures.estimates["lve"].half_width > 0
    assert figures.estimates["ba"].mean == 0.0  # heads that hold still have no beats
    assert figures.openings[1].shape == (3, FRAMES) and sorted(figures.clips) == [0, 1, 2]
    assert figures.by_clip["validation/ann/a"]["mod"] == pytest.approx(0, abs=0.3)


def test_head_amplitude():
    time = np.arange(1000) / 25
    rotation = np.zeros((1000, 3))
    rotation[:, 1] = np.radians(3) * np.sqrt(2) * np.sin(2 * np.pi * time)
    assert head_amplitude(rotation) == pytest.approx(3 / np.sqrt(3), rel=1e-3)


def test_phone_average_of_a_constant_and_of_a_ramp():
    motion = np.zeros((50, 54))
    motion[:25, 53], motion[25:, 53] = 0.1, 0.3
    motion[:, 0] = np.arange(50)
    motion[:, 51] = 0.4
    average = fit_phone_average([([("M", 0.0, 1.0), ("AA", 1.0, 2.0)], motion)])
    assert average.trajectories["AA"][1:, 53] == pytest.approx(np.full(POINTS - 1, 0.3))
    said = average.motion([("AA", 0.4, 0.8), ("ZH", 0.8, 1.2)], 50)
    assert said.shape == (50, 54) and (said[:, 50:53] == 0).all()
    assert said[14:16, 53] == pytest.approx([0.3, 0.3], abs=5e-3)
    assert said[24:26, 53] == pytest.approx(
        [0.2, 0.2], abs=2e-2
    )  # a phone never heard: the mean of the others
    assert (np.diff(said[11:19, 0]) > 0).all()
    with pytest.raises(ValueError):
        fit_phone_average([])


def test_phone_average_speaks_references(references: list[Reference], regions: FaceRegions):
    average = fit_phone_average(
        [
            (r.phones, np.concatenate([r.motion.exp, r.motion.pose[:, :3], r.motion.pose[:, 3:4]], axis=1))
            for r in references
        ]
    )
    figures = evaluate(PhoneAverageSubject(average), references, regions).estimates
    assert figures["closure"].mean == 1.0 and figures["lve"].mean < 1.5
    assert figures["lve"].half_width is None and "div_exp" not in figures
    mute = [Reference(r.id, r.speaker, r.samples, r.motion, ()) for r in references]
    with pytest.raises(DataError, match="no phones"):
        evaluate(PhoneAverageSubject(average), mute, regions)


def test_a_model_in_runs(tiny_model: Path, references: list[Reference], regions: FaceRegions):
    from diffposetalk.networks.checkpoint import load_model

    model = load_model(tiny_model, device="cpu")
    subject = ModelSubject(model, "tiny", runs=3)
    assert torch.equal(
        subject.style_of(references, 0), subject.style_of(references[:2], 0)
    )  # that of the speaker's next recording, never of the same
    assert not torch.equal(subject.style_of(references, 0), subject.style_of(references, 1))
    figures = evaluate(subject, references, regions)
    assert figures.estimates["lve"].runs == 3 and figures.estimates["lve"].half_width > 0
    assert figures.estimates["div_exp"].mean > 0 and figures.estimates["div_hp"].mean > 0
    again = evaluate(ModelSubject(model, "tiny", runs=3), references, regions)
    assert again.by_run["lve"] == pytest.approx(figures.by_run["lve"])
    alone = ModelSubject(model, "tiny", runs=1)
    alone.style_of(references[:1], 0)
    assert "no style is used" in alone.notes[0]


def save_all(folder: Path, references: list[Reference], pattern: str = "{}.npz") -> None:
    for reference in references:
        path = folder / pattern.format(reference.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        reference.motion.save(path)


def test_motion_files_of_another_system(tmp_path: Path, references: list[Reference], regions: FaceRegions):
    save_all(tmp_path / "theirs", references)
    folder = MotionFolder(tmp_path / "theirs", references)
    assert folder.name == "theirs" and folder.runs == 1
    assert evaluate(folder, references, regions).estimates["lve"].mean == pytest.approx(0, abs=1e-4)
    for seed in (0, 7):
        save_all(tmp_path / "seeds", references, f"{{}}-seed{seed}.npz")
    assert MotionFolder(tmp_path / "seeds", references).runs == 2
    for run in ("one", "two", "three"):
        save_all(tmp_path / "runs" / run, references)
    assert MotionFolder(tmp_path / "runs", references).runs == 3
    for kind, pattern in (("flat", "{}.npz"), ("flat seeds", "{}-seed3.npz"), ("flat runs/first", "{}.npz")):
        for reference in references:
            (tmp_path / kind).mkdir(parents=True, exist_ok=True)
            reference.motion.save(tmp_path / kind / pattern.format(reference.id[-1]))
        assert MotionFolder(tmp_path / kind.partition("/")[0], references).runs == 1
    alike = [replace(reference, id=f"{k}/a") for k, reference in enumerate(references)]
    with pytest.raises(DataError, match="lacks 3 of 3"):  # three that are all called “a” are not told apart
        MotionFolder(tmp_path / "flat", alike)
    assert MotionFolder.speaks(tmp_path / "seeds", references)
    assert not MotionFolder.speaks(tmp_path / "runs", [Reference("x", "y", lambda: np.zeros(1), None, ())])


def test_a_models_clips_measure_the_same_from_files(
    tmp_path: Path, tiny_model: Path, references: list[Reference], regions: FaceRegions
):
    from diffposetalk.networks.checkpoint import load_model

    subject = ModelSubject(load_model(tiny_model, device="cpu"), "tiny", runs=2)
    for index, clips in subject.takes(references):
        for run, clip in enumerate(clips):
            path = tmp_path / f"{references[index].id}-seed{run}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            clip.save(path)
    from_files = evaluate(MotionFolder(tmp_path, references), references, regions)
    from_model = evaluate(subject, references, regions)
    for key, values in from_model.by_run.items():
        assert from_files.by_run[key] == pytest.approx(values, rel=1e-3, abs=1e-4, nan_ok=True), key


def test_corpora_in_a_folder_are_read_by_themselves(tmp_path: Path, head: HeadModel):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rows = [{"id": f"{name}{k}", "phones": PHONES} for k in range(12)]
        (tmp_path / name / "index.json").write_text(json.dumps(rows))
        for row in rows:
            soundfile.write(tmp_path / name / f"{row['id']}.flac", np.zeros(16_000), 16_000)
    (tmp_path / "other").mkdir()
    corpora = read_references(tmp_path, head)
    assert {name: [r.id for r in found] for name, found in corpora.items()} == {
        "one": ["one0", "one10"],
        "two": ["two0", "two10"],
    }
    assert corpora["one"][0].motion is None and passed_over(tmp_path) == ["other"]
    assert passed_over(tmp_path / "one") == []
    (tmp_path / "two" / "index.json").write_text('[{"name": 3}]')
    with pytest.raises(DataError, match="rows with an “id”"):
        read_references(tmp_path, head)


def test_what_cannot_be_measured_on_is_left_out_and_told(
    tmp_path: Path, references: list[Reference], tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    for split, name in (("test", "x"), ("validation", "y"), ("validation", "z")):
        folder = tmp_path / "data" / split
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", references[0].samples(), 16_000)
        motion = references[0].motion
        broken = motion.exp.copy()
        broken[5, 5] = np.nan if name == "z" else 0
        MotionClip(broken, motion.pose).save(folder / f"{name}.npz")
    command = [
        "evaluate",
        str(tmp_path / "data"),
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
        "--runs",
        "1",
    ]
    command += ["--head", str(BUNDLED_HEAD), "--long-seconds", "0"]
    assert main(command) == 0
    assert "2 recordings are left out" in capsys.readouterr().out
    with pytest.raises(DataError):
        read_references(tmp_path / "data", load_head(BUNDLED_HEAD))
    (tmp_path / "data" / "validation" / "y.npz").unlink()
    (tmp_path / "data" / "validation" / "y.wav").unlink()
    assert main(command) == 2
    assert (
        "has no recordings to measure on" in (error := capsys.readouterr().err) and "First: test/x" in error
    )


def test_missing_motion_files_are_named(tmp_path: Path, references: list[Reference]):
    save_all(tmp_path, references[:2])
    with pytest.raises(DataError, match="lacks 1 of 3 recordings: validation/ann/c"):
        MotionFolder(tmp_path, references)
    with pytest.raises(DataError, match="no folder"):
        MotionFolder(tmp_path / "nothing", references)
    save_all(tmp_path / "runs" / "one", references)
    save_all(tmp_path / "runs" / "two", references[1:])
    with pytest.raises(DataError, match="run two, lacks 1 of 3"):
        MotionFolder(tmp_path / "runs", references)


def test_motion_files_that_do_not_fit(tmp_path: Path, references: list[Reference], regions: FaceRegions):
    def refused(clip: MotionClip, message: str, **changes: object) -> None:
        folder = tmp_path / message.split()[0]
        save_all(folder, references)
        clip.save(folder / f"{references[1].id}.npz")
        with pytest.raises(MotionError, match=message):
            evaluate(MotionFolder(folder, references), references, regions)

    good = references[1].motion
    refused(MotionClip(good.exp[:40], good.pose[:40]), "lasts")
    refused(MotionClip(good.exp, good.pose, fps=60.0), "lasts")
    broken = MotionClip(good.exp.copy(), good.pose)
    broken.exp[3, 3] = np.nan
    refused(broken, "holds values that are not finite")
    refused(MotionClip(good.exp, good.pose, basis="flame"), "is in the flame basis")


def test_motion_at_another_rate_is_resampled(
    tmp_path: Path, references: list[Reference], regions: FaceRegions
):
    for reference in references:
        path = tmp_path / f"{reference.id}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        motion = reference.motion
        times, faster = np.arange(FRAMES) / 25, np.arange(2 * FRAMES) / 50
        exp = np.stack([np.interp(faster, times, c) for c in motion.exp.T], axis=1)
        pose = np.stack([np.interp(faster, times, c) for c in motion.pose.T], axis=1)
        MotionClip(exp, pose, fps=50.0).save(path)
    figures = evaluate(MotionFolder(tmp_path, references), references, regions).estimates
    assert figures["lve"].mean < 0.05 and figures["ba"].mean > 0.99


def test_motion_of_another_basis_is_not_measured_on_this_head(regions: FaceRegions, head: HeadModel):
    flame = MotionClip(np.zeros((5, 50), np.float32), np.zeros((5, 6), np.float32), basis="flame")
    with pytest.raises(ModelError, match="--head"):
        regions.track(flame)
    bare = HeadModel({k: v for k, v in head.arrays.items() if k != "mask_lips"})
    with pytest.raises(ModelError, match="mask_lips"):
        FaceRegions(bare)


def test_tracks_equal_the_whole_heads_vertices(
    references: list[Reference], regions: FaceRegions, head: HeadModel
):
    clip = references[0].motion
    shape = np.random.default_rng(0).normal(0, 0.5, 100).astype(np.float32)
    track = regions.track(clip, shape)
    pose = clip.pose.copy()
    pose[:, :3] = 0
    whole = head.vertices(torch.from_numpy(clip.exp), torch.from_numpy(pose), torch.from_numpy(shape)).numpy()
    assert np.abs(track.lips - whole[:, head.arrays["mask_lips"]]).max() < 2e-6
    assert np.abs(track.upper_face - whole[:, head.arrays["mask_upper_face"]]).max() < 2e-6
    gap = head.lip_gap(clip.exp, clip.pose, shape)
    rest = head.lip_gap(np.zeros((1, 50), np.float32), np.zeros((1, 6), np.float32), shape)
    assert np.abs(track.opening - (gap - rest)).max() < 2e-6 and track.opening[0] == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is nothing at"),
        (["DATA", "--runs", "0"], "at least one"),
        (["DATA", "--no-model"], "Nothing to measure"),
        (["DATA", "--report", "nowhere/page.html"], "cannot be written"),
        (["DATA", "--no-model", "--motions", "nowhere"], "no folder of motion files"),
        (["DATA", "--no-model", "--motions", "EMPTY"], "holds no motion named like"),
        (["DATA", "--style", "no such style"], "no style preset"),
        (["DATA", "--head", "nowhere.npz"], "does not exist"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DIFFPOSETALK_HEAD", str(BUNDLED_HEAD))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    given = [str(data) if a == "DATA" else a for a in arguments]
    assert main(["evaluate", *given, "--model", str(tiny_model), "--device", "cpu"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1] and error[-1].startswith("error:")


def test_other_basis_needs_a_head(data: Path, tmp_path: Path, head: HeadModel, capsys, monkeypatch):
    monkeypatch.setenv("DIFFPOSETALK_HEAD", str(BUNDLED_HEAD))
    folder = tmp_path / "flame"
    folder.mkdir()
    soundfile.write(folder / "x.wav", np.random.default_rng(0).standard_normal(48_000) * 0.1, 16_000)
    MotionClip(np.zeros((75, 50), np.float32), np.zeros((75, 6), np.float32), basis="flame").save(
        folder / "x.npz"
    )
    assert main(["evaluate", str(folder)]) == 2
    assert "flame basis" in capsys.readouterr().err
