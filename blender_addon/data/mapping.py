# SPDX-License-Identifier: GPL-3.0-or-later
"""Which channel of a motion moves what of a character: a table of rows, and its file. No bpy here.

A row adds `gain * value + offset`, clamped, to a shape key, to any property that can be animated, or to a
bone's movement or turn in the character's own directions.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from . import arkit, lips, shape_names
from .errors import UserError
from .motion import Motion
from .text_file import read_text
from .visemes import viseme_weights

FORMAT, FORMAT_VERSION = "diffposetalk-mapping", 1
ANY_OBJECT = "*"  # in a file: whichever mesh or armature of the character has the target
KINDS = ("KEY", "PROPERTY", "BONE")
BONE_CHANNELS = ("MOVE_LEFT", "MOVE_UP", "MOVE_FORWARD", "TURN_PITCH", "TURN_YAW", "TURN_ROLL")
HEAD_CHANNELS = ("headPitch", "headYaw", "headRoll")  # radians: nodding forward, to the left, onto a shoulder
JAW_PITCH = "jawPitch"  # radians
FLAME_CHANNELS = tuple(f"Exp{e:03d}" for e in range(50))
PARTS = ("LIPS", "UPPER", "HEAD")
JAW_BY = ("KEY", "BONE", "BOTH", "NONE")
_UPPER = ("eye", "brow", "cheekSquint")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    source: a channel: ARKit's names with jawOpen, headPitch, headYaw, headRoll and jawPitch, `oculus:PP` and the
        like for visemes, Exp000 ... for FLAME's.
    object: name of the object that has the target, or ANY_OBJECT.
    kind: KEY (a shape key), PROPERTY (a data path) or BONE.
    target: name of the key or bone, or the data path.
    channel: of a bone, one of BONE_CHANNELS: movements in distances between the eyes, turns in radians.
    gain, offset, low, high: value = clamp(gain * channel + offset, low, high).
    """

    source: str
    object: str
    kind: str
    target: str
    channel: str = ""
    gain: float = 1.0
    offset: float = 0.0
    low: float = 0.0
    high: float = 1.0

    def value(self, channel: np.ndarray) -> np.ndarray:
        """What the row adds, (T,) from (T,)."""
        return np.clip(self.gain * channel + self.offset, self.low, self.high)


@dataclass(frozen=True)
class BoneChoice:
    """Which bones turn, and how; an empty name is none.

    neck_share: share of the head's rotation that the neck takes.
    jaw_by: whether the jaw opens by its key, its bone, both or not at all.
    layered: on top of the animation that the armature has, rather than from its rest pose.
    """

    head: str = ""
    neck: str = ""
    jaw: str = ""
    eye_left: str = ""
    eye_right: str = ""
    neck_share: float = 0.4
    jaw_by: str = "KEY"
    layered: bool = True


@dataclass(frozen=True)
class MappingTable:
    """A whole table."""

    rows: tuple[Row, ...] = ()
    bones: BoneChoice = field(default_factory=BoneChoice)
    name: str = ""


def part_of(source: str) -> str:
    """Which of PARTS a channel belongs to."""
    if source.startswith("head"):
        return "HEAD"
    return "UPPER" if source.startswith(_UPPER) else "LIPS"


def expression_values(motion: Motion, jaw_open_angle: float) -> dict[str, np.ndarray]:
    """The (T,) values of a motion's expressions and jawOpen, as they are."""
    names = motion.expression_names or (
        arkit.EXPRESSION_NAMES if motion.basis == "arkit" else FLAME_CHANNELS[: motion.exp.shape[1]]
    )
    values = {name: motion.exp[:, c] for c, name in enumerate(names)}
    values[arkit.JAW_OPEN] = np.clip(motion.jaw[:, 0] / jaw_open_angle, 0.0, 1.0)
    return values


def channel_values(
    motion: Motion,
    jaw_open_angle: float,
    sources: Iterable[str],
    viseme_openings: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """The (T,) values of the channels that rows ask for; what a motion does not have is left out.

    On a face without mouthClose, with which motion closes lips above a jaw that stays down, the jaw opens as far as
    the lips do.

    Args:
        jaw_open_angle: radians of jaw pitch that are jawOpen = 1.
        viseme_openings: by source (`oculus:PP`) as of `visemes.viseme_weights`, where the character's are known.
    """
    sources = list(sources)
    values = expression_values(motion, jaw_open_angle)
    values[JAW_PITCH] = motion.jaw[:, 0]
    values.update({name: motion.head[:, axis] for axis, name in enumerate(HEAD_CHANNELS)})
    wanted: dict[str, list[str]] = {}
    for source in dict.fromkeys(sources):
        title, _, viseme = source.partition(":")
        if viseme and title in shape_names.VISEME_SETS and viseme in shape_names.VISEME_SETS[title]:
            wanted.setdefault(title, []).append(viseme)
    if motion.basis == "arkit":
        solved: dict[str, np.ndarray] = {}
        for title, visemes in wanted.items():
            known = viseme_openings or {}
            openings = {v: known[f"{title}:{v}"] for v in visemes if f"{title}:{v}" in known}
            weights = viseme_weights(values, title, visemes, motion.fps, openings)
            solved.update({f"{title}:{viseme}": column for viseme, column in weights.items()})
        jaw = lips.jaw_without(values, sources)
        values[JAW_PITCH] = values[JAW_PITCH] - (values[arkit.JAW_OPEN] - jaw) * jaw_open_angle
        values[arkit.JAW_OPEN] = jaw
        values.update(solved)
    return values


def guess_rows(names_by_mesh: Mapping[str, Sequence[str]]) -> list[Row]:
    """The table for meshes with these shape keys.

    ARKit's names first; visemes where the mouth has none of them; FLAME's numbered expressions.
    """
    return list(_guess_rows(tuple((mesh, tuple(names)) for mesh, names in names_by_mesh.items())))


@lru_cache(maxsize=64)  # panels ask at every redraw
def _guess_rows(by_mesh: tuple[tuple[str, tuple[str, ...]], ...]) -> list[Row]:
    names_by_mesh = dict(by_mesh)
    flame = {
        mesh: {name: name for name in names if name in FLAME_CHANNELS}
        for mesh, names in names_by_mesh.items()
    }
    rows = [
        Row(source, mesh, "KEY", name, low=-10.0, high=10.0)
        for mesh, keys in flame.items()
        for source, name in keys.items()
    ]
    if rows:
        return rows
    matched = shape_names.match_arkit(names_by_mesh)
    shares = Counter(place for places in matched.values() for place in places)
    rows = [
        Row(channel, mesh, "KEY", name, gain=1.0 / shares[mesh, name])
        for channel in (*arkit.EXPRESSION_NAMES, arkit.JAW_OPEN)
        for mesh, name in matched.get(channel, ())
    ]
    mouth = {row.source for row in rows if row.source.startswith(("mouth", "jaw"))}
    if len(mouth) >= 8 and arkit.JAW_OPEN in mouth:
        return rows
    spoken = []
    for mesh, names in names_by_mesh.items():
        visemes = shape_names.match_visemes(names)
        if visemes is not None:
            title, keys = visemes
            spoken += [Row(f"{title}:{viseme}", mesh, "KEY", name) for viseme, name in keys.items()]
    if spoken:  # else mouthOpen and the like would add to the visemes
        rows = [row for row in rows if part_of(row.source) == "UPPER"] + spoken
    return rows


def to_json(table: MappingTable) -> str:
    """The table as text that `from_json` reads."""
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "name": table.name,
        "bones": asdict(table.bones),
        "rows": [
            {key: value for key, value in asdict(row).items() if value != _DEFAULTS.get(key)}
            for row in table.rows
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_DEFAULTS = {f.name: f.default for f in fields(Row) if f.name not in ("source", "object", "kind", "target")}


def from_json(text: str, origin: str) -> MappingTable:
    """Read a table.

    Args:
        origin: what the text is, for errors.

    Raises:
        UserError: it is not a table, or a row of it cannot be one; the text names the row.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{origin} is not a mapping (JSON): {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{origin} is not a mapping: its “format” is not “{FORMAT}”.")
    if content.get("version") != FORMAT_VERSION:
        raise UserError(f"{origin} is a mapping of version {content.get('version')}; only 1 is known.")
    rows = content.get("rows")
    if not isinstance(rows, list):
        raise UserError(f"{origin} has no list “rows”.")
    bones = content.get("bones", {})
    return MappingTable(
        tuple(_row(row, f"Row {number} of {origin}") for number, row in enumerate(rows, 1)),
        _bones(bones if isinstance(bones, dict) else {}, origin),
        str(content.get("name", "")),
    )


def _row(content: Any, where: str) -> Row:
    if not isinstance(content, dict):
        raise UserError(f"{where} is not an object.")
    known = {f.name: f for f in fields(Row)}
    unknown = set(content) - set(known)
    if unknown:
        raise UserError(f"{where} has the unknown entry “{sorted(unknown)[0]}”.")
    values: dict[str, Any] = {}
    for name, value in content.items():
        if known[name].type is float:
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{where}: “{name}” is not a number.")
            values[name] = float(value)
        elif isinstance(value, str):
            values[name] = value
        else:
            raise UserError(f"{where}: “{name}” is not a text.")
    values.setdefault("object", ANY_OBJECT)
    for name in ("source", "kind", "target"):
        if not values.get(name):
            raise UserError(f"{where} lacks “{name}”.")
    if values["kind"] not in KINDS:
        raise UserError(f"{where}: “kind” is one of {', '.join(KINDS)}, not “{values['kind']}”.")
    if values["kind"] == "BONE" and values.get("channel") not in BONE_CHANNELS:
        raise UserError(f"{where}: “channel” is one of {', '.join(BONE_CHANNELS)}.")
    return Row(**values)


def _bones(content: dict[str, Any], origin: str) -> BoneChoice:
    choice = BoneChoice()
    for name in ("head", "neck", "jaw", "eye_left", "eye_right", "jaw_by"):
        if name in content:
            choice = replace(choice, **{name: str(content[name])})  # type: ignore[arg-type]
    if choice.jaw_by not in JAW_BY:
        raise UserError(f"{origin}: “jaw_by” is one of {', '.join(JAW_BY)}.")
    share = content.get("neck_share", choice.neck_share)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise UserError(f"{origin}: “neck_share” is a number from 0 to 1.")
    return replace(choice, neck_share=float(share), layered=bool(content.get("layered", choice.layered)))


def read_mapping(path: Path) -> MappingTable:
    """Read a table from a file. Raises UserError."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The mapping “{path}” cannot be read: {error}.") from error
    return from_json(text, f"“{path.name}”")


def write_mapping(path: Path, table: MappingTable) -> None:
    """Write a table to a file. Raises UserError."""
    try:
        path.write_text(to_json(table), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The mapping cannot be written to “{path}”: {error}.") from error
