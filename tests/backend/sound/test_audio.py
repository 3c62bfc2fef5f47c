# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of every sort: what is read, and what each bad one is told."""

from __future__ import annotations

import hashlib
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffposetalk.errors import AudioError, Cancelled
from diffposetalk.sound import audio
from diffposetalk.sound.audio import MAX_SECONDS, SAMPLE_RATE, load_speech, mix_to_mono, probe


def tone(seconds: float, rate: int, hertz: float = 220.0, level: float = 0.3) -> np.ndarray:
    """A sine (n,) float64."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def refused(path: Path, **part: float) -> AudioError:
    with pytest.raises(AudioError) as caught:
        load_speech(path, **part)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) > 20
    return caught.value


def dominant_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


def test_more_channels_than_anybody_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", np.zeros((192_000, 64)), 192_000, format="OGG", subtype="VORBIS")
    error = refused(path)
    assert "64 channels at 192000 Hz" in error.message
    with pytest.raises(AudioError):
        probe(path)


def test_many_channels_are_decoded_in_small_blocks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.tile(tone(3, 192_000)[:, None], 8), 192_000)
    tracemalloc.start()
    try:
        assert load_speech(path).seconds == 3
        assert tracemalloc.get_traced_memory()[1] < 8 * 4 * audio.BLOCK_SAMPLES
    finally:
        tracemalloc.stop()


def test_too_many_samples_in_all_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.flac", np.tile(tone(3, 16_000)[:, None], 8), 16_000)
    monkeypatch.setattr(audio, "MAX_SAMPLES", 200_000)
    assert refused(path).kind == "audio_too_long"
    load_speech(path, seconds=1.0)


@pytest.mark.parametrize("peak", [1e7, 1e20, 3e38])
def test_peaks_that_are_no_sound(tmp_path: Path, peak: float) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000, level=peak), 16_000, subtype="FLOAT")
    assert refused(path).kind == "audio_not_finite"
    load_speech(write(tmp_path / "b.wav", tone(1, 16_000, level=32768), 16_000, subtype="FLOAT"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    write(tmp_path / "a.wav", tone(1, 16_000), 16_000).rename(path)
    assert load_speech(path).seconds == probe(path).seconds == 1


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz(tmp_path: Path, rate: int) -> None:
    speech = load_speech(write(tmp_path / "a.wav", tone(2, rate), rate))
    assert speech.samples.dtype == np.float32
    assert abs(len(speech.samples) - 2 * SAMPLE_RATE) <= 1
    assert speech.seconds == pytest.approx(2)
    assert speech.frames == 50
    assert speech.sample_rate_in == rate
    assert dominant_hertz(speech.samples) == pytest.approx(220, abs=1)
    assert np.abs(speech.samples[1000:-1000]).max() == pytest.approx(0.3, abs=0.003)


def test_resampling_has_a_proper_filter(tmp_path: Path) -> None:
    """A tone above 8 kHz must vanish, not fold back into the speech band."""
    rate = 48_000
    samples = tone(1, rate, 300, 0.1) + tone(1, rate, 10_000, 0.5)
    speech = load_speech(write(tmp_path / "a.wav", samples, rate, subtype="FLOAT"))
    spectrum = np.abs(np.fft.rfft(speech.samples * np.hanning(len(speech.samples))))
    folded = spectrum[5_900:6_100].max()
    assert folded < 1e-3 * spectrum[280:320].max()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".wav", {"subtype": "PCM_16"}),
        (".wav", {"subtype": "PCM_24"}),
        (".wav", {"subtype": "FLOAT"}),
        (".wav", {"subtype": "DOUBLE"}),
        (".flac", {"subtype": "PCM_24"}),
        (".ogg", {"subtype": "VORBIS"}),
        (".mp3", {}),
        (".aiff", {"subtype": "PCM_24"}),
    ],
)
def test_formats(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = write(tmp_path / f"a{suffix}", tone(1.5, 44_100), 44_100, **options)
    speech = load_speech(path)
    assert speech.seconds == pytest.approx(1.5, abs=0.06)
    assert dominant_hertz(speech.samples) == pytest.approx(220, abs=1.5)
    assert speech.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert speech.name == path.name


def test_surround_takes_the_centre_and_drops_the_subwoofer(tmp_path: Path) -> None:
    rate = 48_000
    channels = np.zeros((rate, 6))
    channels[:, 2] = tone(1, rate, 300)
    channels[:, 3] = tone(1, rate, 60, 0.9)
    speech = load_speech(write(tmp_path / "5.1.wav", channels, rate, subtype="PCM_24", format="WAVEX"))
    assert speech.channels_in == 6
    assert dominant_hertz(speech.samples) == pytest.approx(300, abs=1)
    spectrum = np.abs(np.fft.rfft(speech.samples))
    assert spectrum[60] < 1e-2 * spectrum[300]


def test_surround_with_speech_in_front_only(tmp_path: Path) -> None:
    channels = np.zeros((16_000, 6))
    channels[:, 0] = channels[:, 1] = tone(1, 16_000)
    assert np.abs(load_speech(write(tmp_path / "a.wav", channels, 16_000)).samples).max() > 0.05


def test_stereo_is_averaged_and_opposite_phase_is_not_lost() -> None:
    wave = tone(0.5, 16_000).astype(np.float32)
    np.testing.assert_allclose(mix_to_mono(np.stack([wave, wave * 0], 1)), wave / 2, atol=1e-6)
    np.testing.assert_allclose(mix_to_mono(np.stack([wave, -wave], 1)), wave, atol=1e-6)


def test_spaces_and_non_ascii_in_the_path(tmp_path: Path) -> None:
    folder = tmp_path / "Ünïcode – mit Leerzeichen 日本"
    folder.mkdir()
    path = write(folder / "Größe ñ 声.wav", tone(1, 16_000), 16_000)
    assert load_speech(path).seconds == pytest.approx(1)
    assert probe(path).name == "Größe ñ 声.wav"


def test_ten_minutes(tmp_path: Path) -> None:
    path = write(tmp_path / "long.flac", np.tile(tone(1, 22_050), 600), 22_050)
    speech = load_speech(path)
    assert speech.frames == 15_000
    assert abs(len(speech.samples) - 600 * SAMPLE_RATE) <= 1


def test_blocks_join_without_a_seam(tmp_path: Path) -> None:
    """Decoding goes in blocks of ten seconds; the joins must not be heard."""
    speech = load_speech(write(tmp_path / "a.wav", tone(25, 44_100), 44_100, subtype="FLOAT"))
    expected = tone(25, SAMPLE_RATE)[: len(speech.samples)]
    np.testing.assert_allclose(speech.samples[200:-200], expected[200:-200], atol=1e-3)


def test_a_part_of_the_recording(tmp_path: Path) -> None:
    samples = np.concatenate([tone(1, 16_000, 200), tone(1, 16_000, 400), tone(1, 16_000, 800)])
    path = write(tmp_path / "a.wav", samples, 16_000)
    part = load_speech(path, start=1.0, seconds=1.0)
    assert part.seconds == pytest.approx(1)
    assert dominant_hertz(part.samples) == pytest.approx(400, abs=1)
    assert part.sha256 == probe(path).sha256
    assert load_speech(path, start=2.5).seconds == pytest.approx(0.5)
    assert refused(path, start=5.0).kind == "audio_range"
    assert refused(path, start=-1.0).kind == "audio_range"
    assert refused(path, start=0.0, seconds=0.0).kind == "audio_range"
    assert refused(path, start=0.0, seconds=0.01).kind == "audio_too_short"


def test_probe(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "a.wav", np.zeros((96_000, 2)) + 0.1, 48_000))
    assert (info.seconds, info.sample_rate, info.channels, info.frames) == (2.0, 48_000, 2, 50)


def test_missing(tmp_path: Path) -> None:
    error = refused(tmp_path / "gone.wav")
    assert error.kind == "audio_missing" and "gone.wav" in error.message


def test_folder(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert error.kind == "audio_not_a_file" and "folder" in error.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(tmp_path / "pipe.wav").kind == "audio_not_a_file"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    error = refused(tmp_path / "a.wav")
    assert error.kind == "audio_empty" and "0 bytes" in error.message


def test_header_without_sound(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "a.wav", np.zeros(0), 16_000))
    assert error.kind == "audio_empty" and "header" in error.message


def test_one_sample(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "a.wav", np.array([0.5]), 16_000))
    assert error.kind == "audio_too_short" and "1 sample," in error.message


@pytest.mark.parametrize("level", [0.0, 5e-4])
def test_silent(tmp_path: Path, level: float) -> None:
    error = refused(write(tmp_path / "a.wav", tone(1, 16_000, level=level), 16_000))
    assert error.kind == "audio_silent" and "silent" in error.message


def test_quiet_speech_is_not_silent(tmp_path: Path) -> None:
    load_speech(write(tmp_path / "a.wav", tone(1, 16_000, level=0.003), 16_000))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".aiff"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / f"whole{suffix}", tone(4, 44_100), 44_100).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: len(whole) // 2])
    error = refused(cut)
    assert error.kind == "audio_truncated" and "cut off" in error.message


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_truncated_inside_the_header(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / f"whole{suffix}", tone(1, 16_000), 16_000).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[:20])
    error = refused(tmp_path / f"cut{suffix}")
    assert error.kind == "audio_unreadable" and "damaged" in error.message


def test_length_left_open_by_a_pipe_is_no_damage(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.wav", tone(1, 16_000), 16_000).read_bytes())
    size = data.index(b"data") + 4
    data[4:8] = data[size : size + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(data)
    assert load_speech(tmp_path / "piped.wav").seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("notes.wav", b"Dear diary, today I recorded nothing.\n" * 20, "text file"),
        ("picture.wav", b"\x89PNG\r\n\x1a\n" + bytes(200), "PNG picture"),
        ("film.mp4", b"\x00\x00\x00\x20ftypisom" + bytes(200), "video"),
        ("song.m4a", b"\x00\x00\x00\x20ftypM4A " + bytes(200), "AAC"),
        ("scene.wav", b"BLENDER-v402" + bytes(200), "Blender file"),
        ("noise.wav", bytes(range(256)) * 10, "not a sound file"),
        ("noise.raw", bytes(range(256)) * 10, "not a sound file"),
    ],
)
def test_not_audio_says_what_it_is(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert error.kind == "audio_unreadable" and word in error.message and name in error.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, value: float) -> None:
    samples = tone(1, 16_000)
    samples[500] = value
    error = refused(write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT"))
    assert error.kind == "audio_not_finite"


def test_rate_too_low_for_speech(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "a.wav", tone(1, 1_000, 100), 1_000))
    assert error.kind == "audio_unreadable" and "1000 Hz" in error.message


def test_too_long(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.full(round((MAX_SECONDS + 1) * 4_000), 100, np.int16), 4_000)
    error = refused(path)
    assert error.kind == "audio_too_long" and "parts" in error.message
    assert load_speech(path, start=0, seconds=1.0).frames == 25


@pytest.mark.parametrize("asked", [1, 2])
def test_reading_can_be_cancelled(tmp_path: Path, asked: int) -> None:
    """While the sound is decoded, and while the file is hashed: a second of sound asks once for each."""
    path, answers = write(tmp_path / "a.wav", tone(1, 16_000), 16_000), []

    def cancelled() -> bool:
        answers.append(len(answers) + 1 == asked)
        return answers[-1]

    with pytest.raises(Cancelled):
        load_speech(path, cancelled=cancelled)
    assert len(answers) == asked


def test_messages_differ(tmp_path: Path) -> None:
    """Each bad input has a message of its own."""
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"hello " * 100)
    write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    write(tmp_path / "one.wav", np.array([0.5]), 16_000)
    whole = write(tmp_path / "whole.wav", tone(4, 16_000), 16_000).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    paths = [
        tmp_path / name for name in ("empty.wav", "text.wav", "silent.wav", "one.wav", "cut.wav", "no.wav")
    ]
    kinds = {refused(path).kind for path in [*paths, tmp_path]}
    assert len(kinds) == len(paths) + 1


@pytest.mark.parametrize(
    ("name", "codec"), [("telephone.m4a", "aac"), ("film.mp4", "aac"), ("film.mkv", "pcm_s16le")]
)
def test_sound_of_films(tmp_path: Path, name: str, codec: str) -> None:
    """What telephones record, through PyAV: as long and as loud as it was, or a part of it."""
    av = pytest.importorskip("av")
    path, samples = tmp_path / name, tone(3, 44_100)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=44_100, layout="mono")
        whole = np.round(samples * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    speech = load_speech(path)
    assert speech.seconds == pytest.approx(3, abs=0.1) and probe(path).frames == pytest.approx(75, abs=3)
    middle = speech.samples[8_000:40_000]
    assert np.sqrt(np.square(middle).mean()) == pytest.approx(np.sqrt(np.square(samples).mean()), rel=0.05)
    assert load_speech(path, 1.0, 1.0).frames == 25 and speech.name == name
    path.write_bytes(path.read_bytes()[:300])
    assert refused(path).kind == "audio_unreadable"


def test_films_are_refused_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "song.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + bytes(200))
    error = refused(tmp_path / "song.m4a")
    assert error.kind == "audio_unreadable" and "WAV" in error.message
