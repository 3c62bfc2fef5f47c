# SPDX-License-Identifier: GPL-3.0-or-later
"""The report page stands alone and says what was measured; the command line from recordings to page."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.paths import BUNDLED_HEAD

from diffposetalk.cli import main
from diffposetalk.errors import DataError
from diffposetalk.evaluate.cli import _pictured
from diffposetalk.evaluate.confidence import Estimate
from diffposetalk.evaluate.evaluation import Figures, evaluate
from diffposetalk.evaluate.long_take import evaluate_long_take, joined_speech, take_figures
from diffposetalk.evaluate.paper_table import COLUMNS, TABLE_1
from diffposetalk.evaluate.references import Reference
from diffposetalk.evaluate.reported_figures import BY_KEY, printed
from diffposetalk.evaluate.results import Corpus, Evaluation, to_json, to_text
from diffposetalk.evaluate.style_following import drawn_style_references, evaluate_style_following
from diffposetalk.evaluate.subjects import Recorded
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.head.geometry import FaceRegions
from diffposetalk.head.head_model import load_head
from diffposetalk.motion.arkit import EXPRESSIONS, INDEX
from diffposetalk.motion.clip import MotionClip
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import load_speech

pytest.importorskip("matplotlib")

from support.paths import CLIP

from diffposetalk.evaluate.plots import telling_moments
from diffposetalk.evaluate.report import page, write_report

PHONES = (("B", 0.2, 0.3), ("AA", 0.3, 0.6), ("T", 0.6, 0.7), ("UW", 0.7, 1.0), ("M", 1.0, 1.1))
HEAD = load_head(BUNDLED_HEAD)
REGIONS = FaceRegions(HEAD)


def reference(name: str, seconds: float = 2.0, seed: int = 0) -> Reference:
    frames = int(seconds * 25)
    rng = np.random.default_rng(seed)
    exp, pose = np.zeros((frames, 50), np.float32), np.zeros((frames, 6), np.float32)
    time = np.arange(frames) / 25
    pose[:, 3] = 0.1 * (1 - np.cos(2 * np.pi * 2 * time))
    pose[:, 0] = 0.04 * np.sin(2 * np.pi * 0.9 * time + seed)
    exp[:, INDEX["mouthPucker"]] = 0.2 * rng.random()
    sound = (0.1 * rng.standard_normal(int(seconds * 16_000))).astype(np.float32)
    motion = MotionClip(exp, pose, 25.0, "arkit", None, EXPRESSIONS)
    return Reference(name, "ann & <bob>", lambda: sound, motion, PHONES)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    references = [reference("first <clip>", seed=1), reference("second", seed=2)]
    corpus = Corpus("a & b", references, [], 4.0)
    corpus.figures.append(evaluate(Recorded(), references, REGIONS, keep=True))
    corpus.figures.append(evaluate(Wavering(), references, REGIONS, keep=True))
    corpus.pictured = [0]
    return Evaluation({"Model": "<script>alert(1)</script>", "Runs": "3"}, [corpus], notes=["a note & more"])


class Wavering:
    """The recorded motion, its jaw opened further by a different amount in each of three runs."""

    name, runs, notes = "wavering", 3, ["half made up"]

    def takes(self, references):
        for index, one in enumerate(references):
            clips = []
            for run in range(3):
                pose = one.motion.pose.copy()
                pose[:, 3] += 0.02 * (run + 1)
                clips.append(MotionClip(one.motion.exp, pose))
            yield index, clips


class Checker(HTMLParser):
    """Tags opened and closed, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def text(evaluation: Evaluation) -> str:
    return page(evaluation, HEAD)


def test_the_page_stands_alone_and_is_well_formed(text: str):
    checker = Checker()
    checker.feed(text)
    assert checker.open == [] and "script" not in checker.tags and "link" not in checker.tags
    assert len(checker.loads) == 4 and all(load.startswith("data:image/") for load in checker.loads)
    assert "url(" not in text and "@import" not in text
    for load in checker.loads:
        kind, encoded = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", load).groups()
        start = base64.b64decode(encoded, validate=True)[:4]
        assert start == (b"\x89PNG" if kind == "png" else b"\xff\xd8\xff\xe0")
    said = " ".join(checker.text)
    assert "first <clip>" in said and "<script>alert(1)</script>" in said and "a note & more" in said
    assert "half made up" in said and "not directly comparable" in said


def test_the_page_has_the_figures_and_the_papers(text: str, evaluation: Evaluation):
    lve = evaluation.corpora[0].figures[1].estimates["lve"]
    assert lve.runs == 3 and f"{lve.mean:.2f} ± {lve.half_width:.2f}" in text
    for rows in TABLE_1.values():
        for method, cells in rows.items():
            assert method in text and cells[0] in text
    assert [BY_KEY[key].title for key in COLUMNS] == ["LVE", "FDD", "MOD", "BA", "Div (exp)", "Div (HP)"]


def test_terminal_and_json(evaluation: Evaluation):
    text = to_text(evaluation)
    assert (
        "a & b: 2 recordings of 1 speaker, 4 s, with recorded motion; 4 P B M and 2 open vowels." in text
        and "w/ HP: Ours" in text
        and "8.94 ± 0.013" in text
    )
    data = json.loads(to_json(evaluation), parse_constant=pytest.fail)
    subject = data["corpora"]["a & b"]["subjects"]["wavering"]
    assert len(subject["by_run"]["lve"]) == 3 and set(subject["by_clip"]) == {"first <clip>", "second"}
    assert subject["figures"]["lve"]["mean"] == pytest.approx(np.mean(subject["by_run"]["lve"]))
    assert subject["figures"]["opening_lag"]["mean"] == 0
    assert data["paper"]["rows"][6][1:3] == ["Ours", "8.94 ± 0.013"]


def test_a_report_is_written_whole(evaluation: Evaluation, tmp_path: Path):
    evaluation = Evaluation(evaluation.settings, [])
    path = write_report(evaluation, tmp_path / "seite mit ö.html", HEAD)
    assert path.read_text(encoding="utf-8").endswith("</html>\n") and len(list(tmp_path.iterdir())) == 1


def test_the_worst_recording_is_pictured():
    references = [reference(f"clip {index}") for index in range(6)]
    figures = Figures(
        "model", 1, by_clip={f"clip {k}": {"lve": error} for k, error in enumerate((1, 2, 9, 1))}
    )
    corpus = Corpus("c", references, [Figures("recorded", 1), figures], 12.0)
    assert corpus.worst() == 2
    assert (
        _pictured(corpus, 3) == [0, 2, 5] and _pictured(corpus, 1) == [0] and len(_pictured(corpus, 9)) == 6
    )
    assert Corpus("c", references, [Figures("recorded", 1)], 12.0).worst() is None


def test_printed():
    assert printed(BY_KEY["lve"], Estimate(8.937, 0.0131, 10)) == "8.94 ± 0.01"
    assert printed(BY_KEY["closure"], Estimate(0.9512, 0.0131, 10)) == "95.1 ± 1.3"
    assert printed(BY_KEY["lve"], Estimate(3.0, None, 1)) == "3.00" and printed(BY_KEY["lve"], None) == "—"


def test_telling_moments():
    assert telling_moments(PHONES, 50) == [(6, "B"), (11, "AA"), (21, "UW"), (26, "M")]
    assert telling_moments(PHONES, 20) == [(6, "B"), (11, "AA")]
    assert telling_moments((), 90, 3) == [(15, ""), (45, ""), (75, "")]
    many = [("AA", k * 0.1, k * 0.1 + 0.1) for k in range(30)]
    chosen = telling_moments(many, 75, 9)
    assert len(chosen) == 9 and chosen[0][0] == 1 and chosen[-1][0] == 73


def test_a_long_take(tiny_model: Path):
    model = load_model(tiny_model, device="cpu")
    audio = joined_speech([reference("a"), reference("b")], 9.0)
    assert len(audio.samples) == 144_000 and audio.frames == 225
    take = evaluate_long_take(model, audio, None, REGIONS, GenerationOptions((0, 1)))
    assert len(take.clips) == 2 and len(take.openings[0]) == 225
    assert take.estimates["seam_motion"].runs == 2 and "long_pitch" in take.estimates


def test_figures_of_a_take_with_a_jump_at_the_seam(tiny_model: Path):
    model = load_model(tiny_model, device="cpu")
    frames = 250
    pose = np.zeros((frames, 6), np.float32)
    pose[:, 0] = 0.01 * np.sin(np.arange(frames) / 9)
    pose[100:, 0] += 0.3
    opening = 1e-3 * np.abs(np.sin(np.arange(frames) / 5))
    figures = take_figures(model, MotionClip(np.zeros((frames, 50), np.float32), pose), opening)
    assert figures["seam_head"] == 0.5  # of two joins the first jumps
    assert figures["long_pitch"] == pytest.approx(np.degrees(pose[:, 0].std())) and figures["long_yaw"] == 0
    still = take_figures(
        model, MotionClip(np.zeros((50, 50), np.float32), np.zeros((50, 6), np.float32)), None
    )
    assert "long_pitch" not in still and np.isnan(still["seam_motion"]) and np.isnan(still["seam_lips"])


def test_styles_are_drawn_apart_and_followed_or_not(tiny_model: Path):
    references = [reference("a", seed=3), reference("b", seed=4)]
    styles = drawn_style_references(references, 3)
    assert [len(clip) >= 200 for clip in styles] == [True] * 3
    assert np.abs(styles[0].exp - styles[1].exp).max() > 0.05
    again = drawn_style_references(references, 3)
    assert all(
        (a.exp == b.exp).all() and (a.pose == b.pose).all() for a, b in zip(styles, again, strict=True)
    )
    model = load_model(tiny_model, device="cpu")
    figures = evaluate_style_following(model, styles, joined_speech(references, 4.0), REGIONS)
    assert figures["style_chance"] == pytest.approx(1 / 3) and 0 <= figures["style_top1"] <= 1
    assert -1 <= figures["style_head"] <= 1
    with pytest.raises(DataError):
        drawn_style_references([Reference("x", "y", references[0].samples, None, ())], 2)


def test_phones_of_a_transcript():
    pytest.importorskip("pocketsphinx")
    from diffposetalk.lips.alignment import PhoneAligner, transcript_words

    assert transcript_words("Don’t ask, “what” – 2 you!") == ["don't", "ask", "what", "2", "you"]
    clip = CLIP
    samples, rate = load_speech(clip).samples, 16_000
    aligner = PhoneAligner()
    text = (
        "And so, my fellow Americans: ask not what your country can do for you; "
        "ask what you can do for your country."
    )
    phones = aligner.align(samples, text)
    assert phones[0][0] == "SIL" and phones[-1][2] == pytest.approx(len(samples) / rate, abs=0.1)
    assert all(a[2] == pytest.approx(b[1]) and b[2] > b[1] for a, b in pairwise(phones))
    spoken = [phone for phone, _, _ in phones if phone != "SIL"]
    assert spoken[:6] == ["AE", "N", "D", "S", "OW", "M"] or spoken[:5] == ["AH", "N", "D", "S", "OW"]
    # Said aloud the pause after “Americans” lies at about two and a half seconds.
    pause = max((p for p in phones[1:-1] if p[0] == "SIL"), key=lambda p: p[2] - p[1])
    assert 1.5 < pause[1] < 8.5 and pause[2] - pause[1] > 0.3
    with pytest.raises(DataError, match="xqzzt"):
        aligner.align(samples, "xqzzt")
    with pytest.raises(DataError, match="no words"):
        aligner.align(samples, "…")
    with pytest.raises(DataError, match="does not fit"):
        aligner.align(np.zeros(16_000, np.float32), text)


def test_from_recordings_to_a_page(tiny_model: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("DIFFPOSETALK_HEAD", str(BUNDLED_HEAD))
    rows = []
    for name, split in (("one", "validation"), ("two", "validation"), ("three", "train")):
        folder = tmp_path / "data" / split / "ann"
        folder.mkdir(parents=True, exist_ok=True)
        made = reference(name, seed=len(name))
        soundfile.write(folder / f"{name}.wav", made.samples(), 16_000)
        made.motion.save(folder / f"{name}.npz")
        rows.append({"id": f"{split}/ann/{name}", "phones": [["", *phone] for phone in PHONES]})
        if split == "validation":
            theirs = tmp_path / "theirs" / split / "ann"
            theirs.mkdir(parents=True, exist_ok=True)
            made.motion.save(theirs / f"{name}.npz")
    (tmp_path / "data" / "index.json").write_text(json.dumps(rows))
    arguments = [
        "evaluate",
        str(tmp_path / "data"),
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
        "--runs",
        "2",
    ]
    arguments += ["--motions", f"Theirs={tmp_path / 'theirs'}", "--baseline", "--pictures", "1"]
    arguments += ["--long-seconds", "5", "--styles", "2"]
    arguments += ["--report", str(tmp_path / "page.html"), "--json", str(tmp_path / "figures.json")]
    assert main(arguments) == 0
    out = capsys.readouterr()
    data = json.loads((tmp_path / "figures.json").read_text())
    subjects = data["corpora"]["data"]["subjects"]
    assert list(subjects) == ["recorded", "tiny", "Theirs", "per-phone average"]
    assert subjects["tiny"]["runs"] == 2 and subjects["tiny"]["figures"]["lve"]["half_width"] is not None
    assert subjects["Theirs"]["figures"]["lve"]["mean"] == pytest.approx(0, abs=1e-4)
    assert subjects["per-phone average"]["figures"]["lve"]["mean"] > 0.01
    assert set(data["style"]) >= {"style_top1", "style_chance"} and data["long_take"]["seconds"] == 5
    page_text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (
        "Theirs" in page_text
        and "per-phone average" in page_text
        and "Following style references" in page_text
    )
    assert "BA, shuffled control" in out.out and "tiny on data: 2 of 2" in out.err
