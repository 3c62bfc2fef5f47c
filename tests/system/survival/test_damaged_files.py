# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged files that the add-on reads by itself: each is refused in words, or counts as not there."""

import json
import random
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.mutation import damage, damage_json, damage_table, damage_zip

CASES = 60
MANIFESTS = 200

TABLE = b"""audio,object,style,seed,start,takes,export,audio_start
a.wav,Ann,calm,1,10,2,out/a.fbx;out/a.abc,0.5
b.flac,Bob,x.npz,,,,,
"""
ROWS = [
    {"audio": "a.wav", "object": "Ann", "seed": 1, "export": ["a.fbx"]},
    {"audio": "b.wav", "object": "Bob"},
]


def style_file(folder):
    meta = {"format": "diffposetalk style", "version": 1, "basis": "arkit", "model": "m", "description": "d"}
    meta["measures"] = {"mouth_opening": 10.0, "head_tempo": 1.0}
    arrays = {
        "meta": np.array(json.dumps(meta)),
        "vector": np.zeros(16, "f4"),
        "thumbnail": np.zeros(9, "u1"),
    }
    with open(folder / "style.npz", "wb") as file:
        np.savez_compressed(file, **arrays)
    return (folder / "style.npz").read_bytes()


def clip_file(folder):
    np.savez(
        folder / "clip.npz", exp=np.zeros((10, 50), "f4"), pose=np.zeros((10, 6), "f4"), fps=np.float32(25)
    )
    return (folder / "clip.npz").read_bytes()


@pytest.fixture
def readers(part, addon, tmp_path):
    """By kind: the name of the file, good content, how it is damaged, what reads it, whether it may refuse."""
    assets = Path(addon.__file__).parent / "assets"
    presets, library = part("data.bundled"), part("data.style_library")
    config = (assets / "model" / "config.json").read_bytes()
    table = part("data.mapping").to_json(
        part("data.mapping").MappingTable((), part("data.mapping").BoneChoice())
    )

    def model(path):
        presets.model_basis(path.parent)
        presets.sampling_defaults(path.parent)
        presets.style_presets(path.parent)
        presets.has_draft(path.parent)

    def style(path):
        library.thumbnail(path)
        library.read_entry(path)
        library.list_styles(path.parent)

    return {
        "manifest": ("jobs.csv", TABLE, damage_table, part("jobs.batch").read_jobs, True),
        "list": ("jobs.json", json.dumps(ROWS).encode(), damage_json, part("jobs.batch").read_jobs, True),
        "motion": ("clip.npz", clip_file(tmp_path), damage_zip, part("data.motion").read_motion, True),
        "identity": ("clip.npz", clip_file(tmp_path), damage_zip, part("data.head_asset").load_shape, True),
        "mapping": ("map.json", table.encode(), damage_json, part("data.mapping").read_mapping, True),
        "model": ("config.json", config, damage_json, model, False),
        "presets": (
            "styles.json",
            (assets / "model" / "styles.json").read_bytes(),
            damage_json,
            model,
            False,
        ),
        "style": ("a.dptstyle", style_file(tmp_path), damage_zip, style, False),
    }


KINDS = ("manifest", "list", "motion", "identity", "mapping", "model", "presets", "style")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(api, readers, tmp_path, kind):
    name, good, mutation, read, may_refuse = readers[kind]
    folder = tmp_path / "damaged"
    folder.mkdir()
    refused = 0
    for number in range(MANIFESTS // 2 if kind in ("manifest", "list") else CASES):
        chance = random.Random(f"add-on {kind} {number}")
        (folder / name).write_bytes(mutation(good, chance))
        try:
            read(folder / name)
        except api.UserError as error:
            assert may_refuse, error
            assert "Traceback" not in str(error) and len(str(error)) < 8000
            refused += 1
    assert bool(refused) == may_refuse
    assert [path.name for path in folder.iterdir()] == [name] and not Path("outside").exists()


def test_a_damaged_head(api, part, synthetic_head, tmp_path):
    good = synthetic_head.read_bytes()
    read = part("data.head_asset").load_head
    for number in range(CASES):
        chance = random.Random(f"head {number}")
        (tmp_path / "head.npz").write_bytes(damage_zip(good, chance) if number % 2 else damage(good, chance))
        try:
            read(tmp_path / "head.npz")
        except api.UserError as error:
            assert "Traceback" not in str(error)


def test_a_take_that_was_tampered_with(api, part, head, generate_again):
    """What a .blend file from elsewhere holds of a take is not believed either."""
    generate_again(head)
    [action] = api.takes(head)
    take, raw = action.diffposetalk, action.diffposetalk.raw
    for number in range(CASES):
        chance = random.Random(f"take {number}")
        take.raw = damage(raw.encode(), chance).decode("utf-8", "replace").replace("\0", "")
        try:
            api.adjust(head, mouth=1.0 + number / 100)
        except api.UserError as error:
            assert "Traceback" not in str(error)
    take.raw = raw
    assert bpy.data.actions
