# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches: manifests and their bad rows, what is done already, failures beside successes, kills in mid-run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.waiting import PATIENCE, wait_until

from diffposetalk.batch.manifest import Job, ManifestError, output_name, read_manifest
from diffposetalk.batch.output_folder import clip_path, output_folder
from diffposetalk.batch.speaking import Outcome, Speaker
from diffposetalk.batch.take_key import stored_key
from diffposetalk.cli import main
from diffposetalk.errors import OutputError
from diffposetalk.files.digest import file_sha256
from diffposetalk.generation import batching, course
from diffposetalk.generation.batching import generate
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.motion.clip import load_motion
from diffposetalk.networks.device import give_memory_back
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.sound.audio import load_speech, probe


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve short recordings."""
    folder = tmp_path_factory.mktemp("lines")
    rng = np.random.default_rng(0)
    for number in range(12):
        samples = 0.1 * rng.standard_normal(int(16_000 * (0.3 + 0.1 * number)))
        soundfile.write(folder / f"line {number:02d}.wav", samples, 16_000)
    return folder


def manifest(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def outcomes(model: DiffPoseTalk, jobs: list[Job], folder: Path, **settings: object) -> dict[int, Outcome]:
    told: list[Outcome] = []
    Speaker(model, folder, **settings).run(jobs, told.append)  # type: ignore[arg-type]
    assert sorted(outcome.row for outcome in told) == [job.row for job in jobs]
    return {outcome.row: outcome for outcome in told}


# Manifests ------------------------------------------------------------------------------------------


def test_a_manifest_of_every_column(tmp_path: Path) -> None:
    header = (
        "audio;output;style;style_start_frame;seed;takes;audio_start;audio_seconds;speech_guidance;object"
    )
    path = manifest(
        tmp_path / "lines.csv",
        f"\ufeff{header}\r\na.wav;scene 1/Ann;calm;;7;3;0.5;2;1.5;Head\r\n\r\nsub/b.wav;;ref.npz;12;;;;;;\r\n",
    )
    (first, second), bad = read_manifest(path)
    assert not bad and (first.row, second.row) == (2, 4)
    assert first.audio == str(tmp_path / "a.wav") and first.style == {"preset": "calm"}
    assert first.seeds == (7, 8, 9) and first.clip_name(8) == "scene 1/Ann-seed8.npz"
    assert (first.audio_start, first.audio_seconds, first.speech_guidance) == (0.5, 2.0, 1.5)
    assert second.output == "b" and second.clip_name(0) == "b.npz"
    assert second.style == {"motion": str(tmp_path / "ref.npz"), "start_frame": 12}
    assert Job.from_dict(json.loads(json.dumps(asdict(first)))) == first


def test_the_same_in_json(tmp_path: Path) -> None:
    jobs = [{"audio": "a.wav", "seeds": [4, 9]}, {"audio": "b.wav", "style": "library:Ann", "seed": 3}]
    for data in (jobs, {"jobs": jobs}):
        read, bad = read_manifest(manifest(tmp_path / "lines.json", json.dumps(data)))
        assert not bad and [job.seeds for job in read] == [(4, 9), (3,)]
        assert [job.row for job in read] == [1, 2] and read[1].style == {"library": "Ann"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",x,,", "audio"),
        ("a.wav,../x,,", "outside"),
        ("a.wav,/tmp/x,,", "outside"),
        ("a.wav,C:x,,", "outside"),
        ("a.wav,..\\x,,", "outside"),
        ("a.wav,a/../../x,,", "outside"),
        ("a.wav,a//x,,", "not a file name"),
        ("a.wav,.hidden,,", "not a file name"),
        ("a.wav,con,,", "allows"),
        ("a.wav,a?b,,", "allows"),
        (f"a.wav,{'x' * 300},,", "long"),
        ("a.wav,x,one,", "seed"),
        ("a.wav,x,-1,", "seed"),
        ("a.wav,x,1.5,", "seed"),
        ("a.wav,x,9223372036854775808,", "seeds"),
        ("a.wav,x,,-3", "guidance"),
        ("a.wav,x,,nan", "guidance"),
        ("a.wav,x,,,more", "more fields"),
        ("b.wav,GOOD,,", "row 2"),
        ("sub/good.wav,,,", "row 2"),
    ],
)
def test_bad_rows_are_named_and_the_rest_is_read(tmp_path: Path, row: str, said: str) -> None:
    path = manifest(
        tmp_path / "m.csv", f"audio,output,seed,style_guidance\ngood.wav,,,\n{row}\nlast.wav,,,\n"
    )
    jobs, bad = read_manifest(path)
    assert [job.row for job in jobs] == [2, 4]
    assert [b.row for b in bad] == [3] and said in bad[0].message


def test_rows_end_where_lines_do(tmp_path: Path) -> None:
    """Not at what Unicode calls a line separator, nor inside quotes."""
    text = 'audio,note\r\na.wav,one\u2028two\x85three\x0bfour\r\nb.wav,"five\nsix"\r\nc.wav,\n'
    jobs, bad = read_manifest(manifest(tmp_path / "m.csv", text))
    assert not bad
    assert [(job.row, Path(job.audio).name) for job in jobs] == [(2, "a.wav"), (3, "b.wav"), (5, "c.wav")]


def test_a_device_is_no_manifest() -> None:
    with pytest.raises(ManifestError, match="too large"):
        read_manifest("/dev/zero")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", ""),
        ("m.csv", "audio,stlye\na.wav,calm\n"),
        ("m.csv", "output\nx\n"),
        ("m.csv", "audio\n"),
        ("m.csv", "audio,audio\na,b\n"),
        ("m.json", "{"),
        ("m.json", "3"),
        ("m.json", "[1" + "0" * 5000 + "]"),
        ("m.json", "[" * 100_000),
        ("m.json", '[{"audio": "a.wav", "sed": 1}]'),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ManifestError):
        read_manifest(manifest(tmp_path / name, text))


def test_a_manifest_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: The manifest")


def test_names_of_outputs() -> None:
    assert output_name(" scene 1/Ödön.npz ") == "scene 1/Ödön"
    assert output_name("o\u0308") == "ö"  # written as macOS would


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "away").symlink_to(tmp_path)
    with pytest.raises(OutputError) as caught:
        clip_path(tmp_path / "out", "away/x.npz")
    assert caught.value.kind == "output_outside"


# Runs -----------------------------------------------------------------------------------------------


def test_clips_are_those_of_generate(model: DiffPoseTalk, lines: Path, tmp_path: Path) -> None:
    jobs = [
        Job(2, str(lines / "line 03.wav"), "a/b", (5, 6), {"preset": "calm"}),
        Job(3, str(lines / "line 11.wav"), "c", (7,), audio_start=0.2, audio_seconds=0.6, style_guidance=1.0),
    ]
    told = outcomes(model, jobs, tmp_path)
    assert [told[2].status, told[3].status] == ["made", "made"]
    assert told[2].clips == ["a/b-seed5.npz", "a/b-seed6.npz"] and told[2].made == 2
    style = model.styles["calm"].vector
    alone = generate(model, load_speech(lines / "line 03.wav"), style=style, seeds=[6])[0]
    assert np.allclose(load_motion(tmp_path / "a/b-seed6.npz").exp, alone.exp, atol=1e-5)
    assert len(load_motion(tmp_path / "c.npz")) == 15
    provenance = load_motion(tmp_path / "c.npz").provenance
    assert provenance["synthetic"] is True and len(provenance["batch_key"]) == 64


def test_only_what_changed_is_made_again(model: DiffPoseTalk, lines: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    sound.write_bytes((lines / "line 01.wav").read_bytes())
    jobs = [Job(2, str(sound), "a", (1, 2)), Job(3, str(lines / "line 02.wav"), "b", (1,))]
    out = tmp_path / "out"

    def run(jobs: list[Job], **settings: object) -> list[int]:
        told = outcomes(model, jobs, out, **settings)
        assert all(outcome.status == ("made" if outcome.made else "skipped") for outcome in told.values())
        return [told[row].made for row in sorted(told)]

    assert run(jobs) == [2, 1]
    assert run(jobs) == [0, 0]
    sound.touch()  # a new date is no new recording
    assert run(jobs) == [0, 0]
    (out / "a-seed2.npz").unlink()
    assert run(jobs) == [1, 0]
    (out / "b.npz").write_bytes((out / "b.npz").read_bytes()[:200])  # damaged since
    assert run(jobs) == [0, 1]
    sound.write_bytes((lines / "line 04.wav").read_bytes())
    assert run(jobs) == [2, 0]
    assert run([jobs[0], Job(3, jobs[1].audio, "b", (1,), {"preset": "calm"})]) == [0, 1]
    assert run(jobs, options=GenerationOptions(steps=3)) == [2, 1]
    vector = out.parent / "style.npy"
    np.save(vector, np.ones(16, np.float32))
    styled = [jobs[0], Job(3, jobs[1].audio, "b", (1,), {"vector": str(vector)})]
    assert run(styled) == [2, 1] and run(styled) == [0, 0]
    np.save(vector, np.full(16, 2, np.float32))  # another style under the same name
    assert run(styled) == [0, 1]
    assert run([jobs[0], Job(3, jobs[1].audio, "b", (1,), speech_guidance=2.0)]) == [0, 1]


def test_clips_of_other_makers_stay(model: DiffPoseTalk, lines: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.npz"
    np.savez(own, exp=np.zeros((3, 50)), pose=np.zeros((3, 6)))
    digest = file_sha256(own)
    jobs = [Job(2, str(lines / "line 00.wav"), "mine"), Job(3, str(lines / "line 01.wav"), "other")]
    told = outcomes(model, jobs, tmp_path)
    assert told[2].status == "failed" and told[2].kind == "output_exists" and file_sha256(own) == digest
    assert told[3].status == "made"
    assert outcomes(model, jobs, tmp_path, overwrite=True)[2].status == "made"
    assert stored_key(own)


def test_failures_are_collected_and_the_rest_goes_on(
    model: DiffPoseTalk, lines: Path, tmp_path: Path
) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16_000), 16_000)
    sound = str(lines / "line 05.wav")
    jobs = [
        Job(2, sound, "a"),
        Job(3, str(tmp_path / "none.wav"), "b"),
        Job(4, str(silent), "c"),
        Job(5, sound, "d", style={"preset": "nobody"}),
        Job(6, sound, "e", style={"motion": str(tmp_path / "none.npz")}),
        Job(7, sound, "f", shape=str(silent)),
        Job(8, sound, "g", audio_start=99.0),
        Job(9, sound, "h"),
    ]
    told = outcomes(model, jobs, tmp_path / "out")
    assert [told[row].status for row in (2, 9)] == ["made", "made"]
    kinds = {row: told[row].kind for row in range(3, 9)}
    assert kinds[3] == "audio_missing" and kinds[4] == "audio_silent" and kinds[5] == "style_preset"
    assert kinds[7] == "shape_invalid" and kinds[8] == "audio_range"
    for row in range(3, 9):
        assert told[row].status == "failed" and told[row].attempts == 2
        assert told[row].message and "Error" not in told[row].message


def test_a_line_that_breaks_the_batch_does_not_take_others_along(
    model: DiffPoseTalk, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(row, str(lines / f"line {row:02d}.wav"), f"x{row}", (row,)) for row in range(12)]
    culprit = probe(lines / "line 07.wav").frames
    whole = course.motion_clip

    def clip(model, line, motion, provenance):  # type: ignore[no-untyped-def]
        if len(motion) == culprit:
            motion = motion * np.nan
        return whole(model, line, motion, provenance)

    monkeypatch.setattr(course, "motion_clip", clip)
    told = outcomes(model, jobs, tmp_path)
    assert [row for row in told if told[row].status == "failed"] == [7]
    assert told[7].kind == "motion_not_finite"
    assert sum(outcome.status == "made" for outcome in told.values()) == 11


def test_memory_does_not_grow_with_the_manifest(
    model: DiffPoseTalk, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings are read as there is room, never more under way than the batch has rows and one waiting; free memory
    goes back after every line."""
    given_back: list[int] = []
    monkeypatch.setattr(batching, "give_memory_back", lambda: given_back.append(1))
    read: list[int] = []
    told: list[Outcome] = []
    speaker = Speaker(model, tmp_path)
    plain = speaker._line

    def counted(work):  # type: ignore[no-untyped-def]
        read.append(len(read) + 1 - len(told))
        return plain(work)

    monkeypatch.setattr(speaker, "_line", counted)
    speaker.run((Job(n, str(lines / "line 00.wav"), f"x{n}") for n in range(60)), told.append)
    assert len(told) == 60 == len(given_back) and max(read) <= model.compute.rows + 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told to")
def test_free_memory_goes_back_to_the_system() -> None:
    def resident() -> float:
        row = next(r for r in Path("/proc/self/status").read_text().splitlines() if r.startswith("VmRSS"))
        return int(row.split()[1]) / 1024

    blocks = [
        bytearray(100_000) for _ in range(2000)
    ]  # below the size from which on the C library maps them apart
    last = bytearray(100_000)  # keeps the heap from shrinking by itself
    del blocks
    before = resident()
    give_memory_back()
    assert before - resident() > 100 and last


def test_one_batch_at_a_time(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out") as out:
        (out / ".part-abc.npz").write_bytes(b"")
        with pytest.raises(OutputError) as caught, output_folder(tmp_path / "out"):
            pass
        assert caught.value.kind == "output_busy"
    with output_folder(tmp_path / "out") as out:  # what a killed batch leaves is tidied up
        assert not list(out.glob(".part-*"))


# The command ----------------------------------------------------------------------------------------


def test_the_command(
    lines: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = manifest(
        lines / "m.csv",
        "audio,output,seed\nline 00.wav,a,1\nline 01.wav,../b,1\nnone.wav,c,1\nline 02.wav,scene/d,2\n",
    )
    out = tmp_path / "out"
    command = ["batch", str(path), "--out", str(out), "--model", str(tiny_model), "--device", "cpu"]
    assert main([*command, "--check"]) == 1
    assert not out.exists() and "row 3" in capsys.readouterr().err
    assert main(command) == 1
    said = capsys.readouterr()
    assert "row 4" in said.err and "2 made" in said.out and "2 failed" in said.out
    data = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (data["jobs"], data["made"], data["failed"], data["bad_rows"]) == (3, 2, 1, 1)
    assert data["finished"] is True and [f["row"] for f in data["failures"]] == [3, 4]
    assert "row 4" in (out / "report.txt").read_text(encoding="utf-8")
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.npz")) == ["a.npz", "scene/d.npz"]
    manifest(path, "audio,output,seed\nline 00.wav,a,1\n")
    assert main([*command, "--quality", "draft"]) == 2
    assert "has no draft" in capsys.readouterr().err
    assert main(command) == 0
    assert "1 done before" in capsys.readouterr().out


HELD = """
import os, sys, time
from pathlib import Path
from diffposetalk.cli import main
folder, enough = Path(sys.argv[1]), int(sys.argv[2])
replace = os.replace
def held(part, path):
    while Path(path).name.startswith("clip") and len(list(folder.glob("clip*.npz"))) >= enough:
        time.sleep(0.01)
    replace(part, path)
os.replace = held
sys.exit(main(sys.argv[3:]))
"""
"""The command line; it stands still before a clip gets its name, when there are enough."""


def test_nothing_is_lost_when_it_is_killed_three_times(lines: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [f"line {n % 12:02d}.wav,clip{n:02d},{n}" for n in range(90)]
    path = manifest(lines / "ninety.csv", "\n".join(["audio,output,seed", *rows]))
    out = tmp_path / "out"
    command = ["batch", str(path), "--out", str(out), "--model", str(tiny_model)]
    command += ["--device", "cpu", "--batch", "2"]

    def held_with(enough: int) -> subprocess.Popen[bytes]:
        start = [sys.executable, "-c", HELD, str(out), str(enough), *command]
        process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: len(clips()) >= enough or process.poll() is not None)
        wait_until(lambda: list(out.glob(".part-*")) or process.poll() is not None)
        return process

    def clips() -> dict[str, str]:
        return {p.name: file_sha256(p) for p in out.glob("clip*.npz")}

    kept: dict[str, str] = {}
    for kill in range(3):
        enough = len(kept) + 8
        process = held_with(enough)
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL, (
            f"run {kill} came to its end before it could be killed"
        )
        now = clips()
        assert kept.items() <= now.items(), "a clip of an earlier run was touched"
        assert len(now) == enough and list(out.glob(".part-*"))  # one was half on its way
        kept = now
    # SIGTERM ends it as Ctrl-C does: with a report of what is left.
    process = held_with(len(kept) + 1)
    process.terminate()
    assert process.wait(PATIENCE) == 130
    data = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert data["finished"] is False and data["made"] >= 1
    kept = clips()
    again = [sys.executable, "-m", "diffposetalk", *command]
    done = subprocess.run(again, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    now = clips()
    assert len(now) == 90 and kept.items() <= now.items()
    data = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert data["skipped"] == len(kept) and data["made"] == 90 - len(kept)
    assert not list(out.glob(".part-*"))
    for n in (0, 44, 89):
        clip = load_motion(out / f"clip{n:02d}.npz")
        assert clip.provenance["seed"] == n and clip.provenance["audio_name"] == f"line {n % 12:02d}.wav"
