# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads files from elsewhere: good files of each kind, how they are damaged, and what reads them."""

from __future__ import annotations

import argparse
import csv
import io
import json
import pickle
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from support.live_link_files import performance, write_table
from support.tiny_model import save_tiny_model, tiny_config

from diffposetalk.batch.manifest import read_manifest
from diffposetalk.convert.checkpoint import convert_checkpoint
from diffposetalk.convert.flame import convert_flame
from diffposetalk.errors import DiffPoseTalkError
from diffposetalk.files.torch_file import read_torch_file
from diffposetalk.generation.speak import load_shape
from diffposetalk.head.head_model import load_head
from diffposetalk.motion.clip import MotionClip, load_motion
from diffposetalk.motion.formats import read_motion
from diffposetalk.motion.formats.arkit_curves import read_unchanged, write_arkit_json
from diffposetalk.motion.formats.reconstructions import load_reconstruction
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk
from diffposetalk.sound.audio import load_speech, probe
from diffposetalk.styles.library import import_style
from diffposetalk.styles.reading import read_style
from diffposetalk.styles.style_file import load_style, load_style_vector, save_style, style_of_reading

from .mutation import Mutation, damage, damage_json, damage_safetensors, damage_table, damage_zip
from .watch import watched

ROWS: list[dict[str, Any]] = [
    {"audio": "a.wav", "output": "scene 1/ann", "style": "calm", "seed": 1, "takes": 2, "audio_start": 0.5},
    {"audio": "b.flac", "style": "library:Ann", "seeds": "1 2 3", "speech_guidance": 1.5, "note": "hm"},
    {"audio": "c d.mp3", "output": "c.npz", "style": "../x.npz", "style_start_frame": 3, "shape": "s.npy"},
    {"audio": "日本.ogg", "audio_seconds": 2.0, "style_guidance": 0, "start_frame": 10, "object": "Head"},
]

Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A kind of file.

    seeds: good files' contents by suffix. place: where the damaged one is put, in an otherwise good folder.
    """

    seeds: dict[str, list[bytes]]
    mutation: Mutation
    read: Reader
    place: str = "damaged{suffix}"


@dataclass
class Found:
    """What came of the cases: how many were read in spite of the damage, refused by kind, or a fault."""

    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def fuzz(target: Target, folder: Path, count: int, seed: int, keep_going: bool = False) -> Found:
    """Give `count` damaged files to a reader in a folder of their own.

    Whatever is neither read nor refused in one line of words is a fault; so is anything that `watched` forbids.
    """
    found = Found()
    folder.mkdir(parents=True, exist_ok=True)
    suffixes = list(target.seeds)
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        suffix = chance.choice(suffixes)
        content = target.mutation(chance.choice(target.seeds[suffix]), chance)
        path = folder / target.place.format(suffix=suffix)
        path.write_bytes(content)
        found.cases += 1
        began = time.monotonic()
        try:
            with watched(folder):
                target.read(path)
            found.accepted += 1
        except DiffPoseTalkError as error:
            problem = what_is_wrong_with(error.message)
            if problem:
                found.faults.append(f"case {number}: {problem}: {error.message[:500]}")
            found.refused[error.kind] += 1
        except Exception as error:
            found.faults.append(f"case {number} ({suffix}): {traceback.format_exc()[-1500:]}")
            if not keep_going:
                raise AssertionError(f"case {number} of seed {seed} ({suffix}): {error!r}") from error
        found.seconds = max(found.seconds, time.monotonic() - began)
    assert keep_going or not found.faults, found.faults[0]
    return found


def what_is_wrong_with(message: str) -> str:
    """Why a message is none for people; empty where it is one."""
    if not message.strip() or len(message) > 1500:
        return "no message, or a very long one"
    if re.search(r"Traceback|File \"|line \d+, in |object at 0x", message):
        return "a traceback as message"
    if "\n" in message or any(ord(c) < 32 for c in message):
        return "more than one line, or control characters"
    return ""


def audio_target() -> Target:
    """Recordings in the formats that people have."""
    random_numbers = np.random.default_rng(0)
    time_axis = np.arange(8_000) / 16_000
    voice = 0.3 * np.sin(2 * np.pi * 150 * time_axis) + 0.05 * random_numbers.standard_normal(8_000)
    formats = {
        ".wav": [
            ("WAV", "PCM_16"),
            ("WAV", "FLOAT"),
            ("WAV", "PCM_24"),
            ("WAV", "IMA_ADPCM"),
            ("WAVEX", "PCM_16"),
        ],
        ".flac": [("FLAC", "PCM_16")],
        ".ogg": [("OGG", "VORBIS"), ("OGG", "OPUS")],
        ".mp3": [("MP3", "MPEG_LAYER_III")],
        ".aiff": [("AIFF", "PCM_16")],
        ".caf": [("CAF", "PCM_16"), ("CAF", "ALAC_16")],
        ".au": [("AU", "ULAW")],
        ".w64": [("W64", "PCM_16")],
    }
    seeds: dict[str, list[bytes]] = {}
    for suffix, kinds in formats.items():
        for container, subtype in kinds:
            for channels in (1, 2):
                file = io.BytesIO()
                soundfile.write(file, np.tile(voice[:, None], channels), 16_000, subtype, format=container)
                seeds.setdefault(suffix, []).append(file.getvalue())

    def read(path: Path) -> object:
        probe(path)
        return load_speech(path)

    return Target(seeds, damage, read)


def model_targets(folder: Path) -> dict[str, Target]:
    """Models, heads, motion, styles, checkpoints and FLAME files; good ones are made in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(save_tiny_model(folder / "model"), "cpu")
    clip = _clip()
    targets = {
        name: _of_a_model(folder, name, mutation)
        for name, mutation in (
            ("config.json", damage_json),
            ("styles.json", damage_json),
            ("model.safetensors", damage_safetensors),
        )
    }
    clip.save(folder / "clip.npz")
    save_style(folder / "style.dptstyle", _style(model, clip))
    np.save(folder / "vector.npy", np.zeros(16, np.float32))
    np.savez(folder / "shape.npz", shape=np.zeros(100, np.float32))
    write_arkit_json(clip, folder / "curves.json")
    write_table(folder / "capture.csv", *performance(0.5))
    torch.save(_checkpoint(), folder / "zip.pt")
    torch.save(_checkpoint(), folder / "stream.pt", _use_new_zipfile_serialization=False)
    (folder / "flame.pkl").write_bytes(pickle.dumps(_small_flame(), protocol=2))
    np.savez(folder / "flame.npz", **_small_flame())
    _write_small_head(folder / "head.npz")
    seed = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    hostile = [pickle.dumps(_Hostile(), protocol=p) for p in (0, 2, 4)]
    targets |= {
        "head": Target({".npz": [seed["head.npz"]]}, damage_zip, load_head),
        "motion": Target({".npz": [seed["clip.npz"]]}, damage_zip, load_motion),
        "reconstruction": Target(
            {".npz": [seed["clip.npz"]], ".pkl": [seed["flame.pkl"], *hostile]},
            _damage_any,
            load_reconstruction,
        ),
        "motion table": Target(
            {".csv": [seed["capture.csv"]], ".json": [seed["curves.json"]]}, _damage_any, read_unchanged
        ),
        "style file": Target(
            {".dptstyle": [seed["style.dptstyle"]]},
            damage_zip,
            lambda path: (load_style(path), import_style(path.parent / "library", path)),
        ),
        "style reference": Target(
            {".npz": [seed["clip.npz"]]}, damage_zip, lambda path: read_style(model, read_motion(path))
        ),
        "style vector": Target(
            {".npy": [seed["vector.npy"]]}, damage, lambda path: load_style_vector(path, 16)
        ),
        "identity": Target(
            {".npz": [seed["shape.npz"]], ".npy": [seed["vector.npy"]]}, _damage_any, load_shape
        ),
        "checkpoint": Target(
            {".pt": [seed["zip.pt"], seed["stream.pt"], *hostile]}, _damage_any, read_torch_file
        ),
        "conversion": Target(
            {".pt": [seed["zip.pt"], seed["stream.pt"]]},
            _damage_any,
            lambda path: convert_checkpoint(path, path, path, path.parent / "converted"),
        ),
        "FLAME": Target(
            {".pkl": [seed["flame.pkl"], *hostile], ".npz": [seed["flame.npz"]]},
            _damage_any,
            lambda path: convert_flame(path, path.parent / "head out.npz"),
        ),
    }
    return targets


def _damage_any(data: bytes, chance: random.Random) -> bytes:
    """Damage of the kind that fits the content."""
    if data[:2] == b"PK":
        return damage_zip(data, chance)
    if data[:1] == b"{":
        return damage_json(data, chance)
    return damage_table(data, chance) if data[:8] == b"Timecode" else damage(data, chance)


def _of_a_model(folder: Path, name: str, mutation: Mutation) -> Target:
    """A model directory, one file of which is damaged."""
    good = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}

    def read(path: Path) -> object:
        for other, content in good.items():
            if other != name and not (path.parent / other).exists():
                (path.parent / other).write_bytes(content)
        return load_model(path.parent, "cpu")

    return Target({Path(name).suffix: [good[name]]}, mutation, read, place=name)


def _clip() -> MotionClip:
    frames = 120
    wave = np.sin(np.arange(frames) / 5)[:, None]
    exp = (0.5 + 0.4 * wave * np.linspace(0.1, 1, 50)).astype(np.float32)
    pose = (0.1 * wave * np.linspace(0.1, 1, 6)).astype(np.float32)
    return MotionClip(exp, pose, basis="arkit", expression_names=tiny_config().expression_names)


def _style(model: DiffPoseTalk, clip: MotionClip) -> Any:
    return style_of_reading(model, "style", read_style(model, clip), {"kind": "motion"})


def _checkpoint() -> dict[str, Any]:
    return {
        "args": argparse.Namespace(target="sample", fps=25, n_motions=100),
        "model": {"weight": torch.randn(3, 4), "bias": torch.zeros(4)},
        "iter": 7,
    }


def _small_flame() -> dict[str, Any]:
    """The arrays of a FLAME file by name, too small to be one."""
    return {
        "v_template": np.zeros((8, 3)),
        "f": np.zeros((4, 3), np.uint32),
        "shapedirs": np.zeros((8, 3, 400)),
        "posedirs": np.zeros((8, 3, 36)),
        "J_regressor": np.zeros((5, 8)),
        "weights": np.zeros((8, 5)),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }


class _Hostile:
    """A pickle that runs a program when it is read the ordinary way."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch outside",)


def _write_small_head(path: Path) -> None:
    arrays = _small_flame()
    arrays["shapedirs"] = arrays["shapedirs"][:, :, :150]
    np.savez(path, basis=np.array("arkit"), eye_look_angles=np.zeros((50, 2, 2)), **arrays)


def table(rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def read_and_check(path: Path) -> object:
    """Every clip of a manifest that is accepted lies inside the output folder, whatever the system."""
    jobs, bad = read_manifest(path)
    for row in bad:
        assert not what_is_wrong_with(row.message), row.message
    root = Path("/out").resolve()
    for job in jobs:
        for seed in job.seeds:
            name = job.clip_name(seed)
            assert (root / name).resolve().is_relative_to(root) and "\\" not in name and ":" not in name, name
    return jobs


def manifest_targets() -> dict[str, Target]:
    """Manifests as tables and as JSON."""
    lists = [json.dumps(ROWS).encode(), json.dumps({"jobs": ROWS[:2]}).encode()]
    return {
        "manifest (CSV)": Target({".csv": [table(ROWS), table(ROWS[:1])]}, damage_table, read_and_check),
        "manifest (JSON)": Target({".json": lists}, damage_json, read_and_check),
    }


def all_targets(folder: Path) -> Iterator[tuple[str, Target]]:
    """Every kind of file by its name."""
    yield "audio", audio_target()
    yield from model_targets(folder).items()
    yield from manifest_targets().items()
