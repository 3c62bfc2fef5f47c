# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings to keys, as a job that is polled; it knows nothing of windows or operators.

The job talks to the backend first and touches the scene last, in one go: until then, and after any error or
cancelling, the scene is as it was. Objects are remembered by their session ids, because undo may replace
them while the job runs.
"""

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import bundled
from ..data.errors import UserError
from ..data.generation_options import GenerationOptions
from ..data.mapping import PARTS
from ..data.motion import Motion, read_motion, resample_motion
from ..engine import flame_file
from ..engine.job import BackendJob, Steps
from ..faces.rig import SHAPE_MARK
from ..faces.targets import Target, check_basis
from ..takes import audio_strip, heard, record
from ..takes.audio_strip import AudioSpan
from ..takes.keying import Assignment, Take, check_head_bone, key_takes, last_frame, unplayed_takes
from ..takes.preview import Preview
from ..takes.record import KeyedAs
from ..takes.showing import targets_of

CONVERT_BASIS = "turn on Convert to the Head's Basis (in scripts: convert_basis=True)"

STAGES = {"speech": (n_("Listening to the speech"), 0.0, 0.1), "motion": (n_("Making the motion"), 0.1, 0.95),
          "convert": (n_("Converting to the head's basis"), 0.95, 0.98),
          "write": (n_("Writing the takes"), 0.98, 1.0)}  # fmt: skip


@dataclass(frozen=True)
class Speech:
    """One recording and the objects that speak it."""

    span: AudioSpan
    objects: tuple[bpy.types.Object, ...]
    place_sound: bool = True


@dataclass(frozen=True)
class GenerationSettings:
    """How motion is made and keyed.

    head_bone: "neck" or "root".
    convert_basis: convert the motion where the model's expression basis is not the head's.
    parts: which of `mapping.PARTS` are keyed; what the heads show of the others stays.
    stream: show the finished part of the first take while the rest is made.
    """

    options: GenerationOptions
    head_strength: float = 1.0
    head_bone: str = "neck"
    model_directory: Path = bundled.MODEL_DIRECTORY
    device: str = "auto"
    convert_basis: bool = False
    parts: frozenset[str] = frozenset(PARTS)
    stream: bool = False

    @property
    def strength(self) -> float:
        """Factor of the head rotation that is keyed."""
        return self.head_strength if self.options.head_pose else 0.0

    @property
    def asked(self) -> GenerationOptions:
        """What the backend is asked for: no head that is not keyed, and of a draft nothing that is built in."""
        return replace(self.options, head_pose=self.strength > 0).without_built_in()


@dataclass
class Keyed:
    """What came of one recording."""

    objects: list[bpy.types.Object]
    audio: str
    seeds: list[int]
    actions: list[list[bpy.types.Action]]  # by take
    strip: Any | None  # the sound strip that was made
    start_frame: float
    last_frame: int
    warnings: list[str] = field(default_factory=list)
    synced: bool = False  # whether playback was made to follow the sound
    residual: dict[str, float] | None = None  # mean, p95 and max mm that converting to the head's basis left


@dataclass
class Generated:
    """What the backend made of one recording."""

    takes: list[Motion]
    seeds: list[int]
    seconds: float
    source: dict[str, Any]  # what was asked for, kept with the takes


class GenerationJob(BackendJob):
    """A generation under way.

    results: when done, one entry for each recording.
    """

    one_recording_each = True  # whether an object may speak only one of them

    def __init__(
        self, scene: bpy.types.Scene, speeches: Sequence[Speech], settings: GenerationSettings
    ) -> None:
        """Check what can be checked without the backend, and start.

        Raises:
            UserError: an object cannot be keyed, an audio file is missing, a setting is out of range, or no
                backend is set up.
            BackendError: the backend cannot be started.
        """
        check_speeches(speeches, settings, self.one_recording_each)
        super().__init__(rpt_("Starting the backend"))
        self.settings = settings
        self.results: list[Keyed] = []
        self._scene = scene.session_uid
        uids = [tuple(item.session_uid for item in speech.objects) for speech in speeches]
        self._speeches = [(replace(s, objects=()), ids) for s, ids in zip(speeches, uids, strict=True)]
        self._blocks = [
            {block.session_uid for target in targets_of(speech.objects) for block in target.blocks}
            for speech in speeches
        ]
        self._preview: Preview | None = None
        self._backend()

    def _attend(self) -> None:
        super()._attend()
        if self._preview is not None and not self.cancelling:
            self._preview.advance()

    def _run(self) -> Steps:
        for speech, _ in self._speeches:  # bad audio is told before the model is loaded
            self.text = rpt_("Reading the audio")
            yield from self.readable(speech.span.path)
        basis = yield from self._load_model()
        generated = []
        for index in range(len(self._speeches)):
            generated.append((yield from self._generate(index, basis)))
        self.text = rpt_("Keying")
        yield
        self._key(generated)

    def _load_model(self) -> Generator[None, None, str]:
        """Load the model where it is not loaded; the generator's value is its basis."""
        answer = yield from self.load_model(self.settings.model_directory, self.settings.device)
        basis = str(answer["basis"])
        for _, uids in self._speeches:
            _check_bases(targets_of(objects_of(uids)), basis, self.settings.convert_basis)
        return basis

    def _generate(
        self, index: int, basis: str, seeds: Sequence[int] | None = None
    ) -> Generator[None, None, Generated]:
        """Generate the takes of one recording; the generator's value is a `Generated`.

        Args:
            seeds: None are those of the settings.
        """
        speech, uids = self._speeches[index]
        settings = self.settings
        heads = yield from heads_between(self, targets_of(objects_of(uids)), basis)
        # the identities of another basis's head mean nothing to the model
        shape = shape_file(objects_of(uids)[0], self._folder) if heads is None else None
        asked = replace(settings.asked, shape=shape, seeds=tuple(seeds or settings.options.seeds))
        params = {
            **_recording(speech.span),
            "audio": (yield from self.readable(speech.span.path)),
            "output_dir": str(self._folder / str(index)),
            **asked.to_params(),
            **({"heads": heads} if heads is not None else {}),
        }
        if self.settings.stream and heads is None:
            self._preview = self._preview_of(index)

        def on_notice(method: str, notice: dict[str, Any]) -> None:
            shown = self._preview
            if method == "window" and shown is not None and notice["take"] == 0 and not self.cancelling:
                shown.add(notice["path"], int(notice["start"]))
            if method != "progress" or notice.get("stage") not in STAGES or self.cancelling:
                return
            text, low, high = STAGES[notice["stage"]]
            count = len(self._speeches)
            self.text = rpt_(text) + (f" ({index + 1}/{count})" if count > 1 else "")
            self.show_progress(method, notice, (index + low) / count, (index + high) / count)

        try:
            answer = yield from self.ask("generate", params, on_notice=on_notice)
        finally:
            if self._preview is not None:
                self._preview.end()
                self._preview = None
        takes, seconds = answer["takes"], float(answer["audio"]["seconds"])
        return Generated(
            [read_motion(take["path"]) for take in takes],
            [int(take["seed"]) for take in takes],
            seconds,
            {**source_of(speech.span, settings), "seconds": seconds},
        )

    def _preview_of(self, index: int) -> Preview:
        speech, uids = self._speeches[index]
        settings = self.settings
        return Preview(
            scene_of(self._scene),
            lambda: targets_of(objects_of(uids)),
            speech.span.frame,
            settings.head_bone,
            settings.strength,
            settings.parts,
        )

    def _key(self, generated: list[Generated]) -> None:
        """Write everything into the scene, or nothing."""
        scene, settings = scene_of(self._scene), self.settings
        fps = audio_strip.frames_per_second(scene)
        assignments = []
        for (speech, uids), outcome in zip(self._speeches, generated, strict=True):
            name = Path(speech.span.path).stem
            takes = tuple(
                Take(
                    resample_motion(motion, fps),
                    f"{name} · take {t + 1} (seed {seed})",
                    motion,
                    {**outcome.source, "seed": seed},
                )
                for t, (motion, seed) in enumerate(zip(outcome.takes, outcome.seeds, strict=True))
            )
            targets = tuple(targets_of(objects_of(uids)))
            assignments.append(Assignment(targets, takes, speech.span.frame))
        for assignment, before in zip(assignments, self._blocks, strict=True):
            if before - {block.session_uid for target in assignment.targets for block in target.blocks}:
                name = assignment.targets[0].mesh.name
                raise UserError(
                    f"A part of “{name}” was removed while its motion was made. Nothing was keyed."
                )
        sounds: list[tuple[Any | None, str]] = []
        with contextlib.ExitStack() as on_failure:
            for (speech, _), outcome in zip(self._speeches, generated, strict=True):
                path, frame = speech.span.path, round(speech.span.frame)
                placed = speech.place_sound
                sounds.append(
                    audio_strip.place_sound(scene, path, frame, outcome.seconds) if placed else (None, "")
                )
                if sounds[-1][0] is not None:
                    on_failure.callback(audio_strip.remove_strip, scene, sounds[-1][0])
            actions = key_takes(assignments, settings.head_bone, settings.strength, settings.parts)
            on_failure.pop_all()
        for assignment, outcome, by_take, (strip, warning) in zip(
            assignments, generated, actions, sounds, strict=True
        ):
            result = Keyed(
                [target.mesh for target in assignment.targets],
                outcome.source["audio"],
                outcome.seeds,
                by_take,
                strip,
                assignment.start_frame,
                last_frame(assignment.takes[0].motion, assignment.start_frame),
                [*([warning] if warning else []), *remarks(assignment.targets, scene)],
                residual=outcome.takes[0].provenance.get("conversion_residual_mm"),
            )
            scene.frame_end = max(scene.frame_end, result.last_frame)
            self.results.append(result)
        if any(strip is not None for strip, _ in sounds):
            self.results[0].synced = audio_strip.play_in_sync(scene)
        heard.follow_takes()


def remarks(targets: Sequence[Target], scene: bpy.types.Scene) -> list[str]:
    """What the user should know about targets that were keyed: what of them was not, and what is not seen."""
    warnings = [warning for target in targets for warning in target.warnings]
    for target in targets:
        if scene not in target.owner.users_scene:
            warnings.append(
                f"“{target.owner.name}” is not in the scene “{scene.name}”, whose frame rate and sequencer were used."
            )
        warnings += unplayed_takes(target.blocks)
    return warnings


def _recording(span: AudioSpan) -> dict[str, Any]:
    return {"audio": span.path, "audio_start": span.start, "audio_seconds": span.seconds}


def source_of(span: AudioSpan, settings: GenerationSettings) -> dict[str, Any]:
    """What a take is made from, but its seed: kept with it, to make a part of it again."""
    asked = {k: v for k, v in settings.asked.to_params().items() if k not in ("seeds", "shape")}
    return {**_recording(span), **asked, "model": str(settings.model_directory)}


def seeds_made(
    scene: bpy.types.Scene, objects: Sequence[bpy.types.Object], span: AudioSpan, settings: GenerationSettings
) -> set[int]:
    """The seeds with which one of the objects has this very take already. Raises UserError."""
    fps = audio_strip.frames_per_second(scene)
    keyed = KeyedAs(span.frame, settings.head_bone, settings.strength, settings.parts, fps)
    wanted, seeds = source_of(span, settings), set()
    for target in targets_of(objects):
        for action in record.takes_of(target.owner):
            source = record.source_of(action.diffposetalk)
            same = all(name in source and source[name] == value for name, value in wanted.items())
            if same and keyed.is_like(record.read_keyed(action.diffposetalk)):
                seeds.add(int(source["seed"]))
    return seeds


def heads_between(
    job: BackendJob, targets: Sequence[Target], basis: str
) -> Generator[None, None, dict[str, str] | None]:
    """The heads between which motion of `basis` is converted for targets; the value is None where it is shown as it is.

    Raises:
        UserError: the user's FLAME is needed, and none is chosen.
    """
    if all(target.basis == basis for target in targets):
        return None
    model = yield from flame_file.head_file(job, basis)
    shown = yield from flame_file.head_file(job, targets[0].basis, targets[0].head_file)
    return {"model": str(model), "target": str(shown)}


def shape_file(item: bpy.types.Object, folder: Path) -> str | None:
    """The identity of a head as a file in `folder`, or None for the mean face."""
    shape = item.get(SHAPE_MARK)
    if shape is None:
        return None
    path = folder / "shape.npy"
    coefficients = np.zeros(100, np.float32)
    coefficients[: len(shape)] = shape
    np.save(path, coefficients)
    return str(path)


def check_speeches(speeches: Sequence[Speech], settings: GenerationSettings, one_each: bool = True) -> None:
    """Raise UserError for what is wrong already before the backend is asked."""
    if not speeches:
        raise UserError("There is no recording to make motion from.")
    if not settings.parts:
        raise UserError("Choose at least one of Lips, Upper Face and Head to key.")
    check_head_bone(settings.head_bone)
    seen: set[bpy.types.ID] = set()
    basis = bundled.model_basis(settings.model_directory)
    for speech in speeches:
        targets = targets_of(speech.objects)
        if basis is not None:
            _check_bases(targets, basis, settings.convert_basis)
        for target in targets:
            if one_each and seen & set(target.blocks):
                raise UserError(f"“{target.mesh.name}” is to speak two recordings at once. Give it one.")
            seen.update(target.blocks)
        audio_strip.check_audio_path(speech.span.path)
    motion = (settings.options.style or {}).get("motion")
    if motion is not None and not Path(motion).is_file():
        raise UserError(f"The style's motion file “{motion}” does not exist. Choose another one.")


def _check_bases(targets: Sequence[Target], basis: str, convert: bool) -> None:
    """Raise UserError where motion of `basis` cannot be shown by the targets of one recording."""
    others = [target for target in targets if target.basis != basis]
    if not convert:
        for target in others:
            check_basis(target, basis, CONVERT_BASIS)
    elif others:
        heads = {(target.basis, target.head_file if target.basis == "flame" else "") for target in targets}
        if len(heads) > 1:
            names = " and ".join(f"“{target.mesh.name}”" for target in targets)
            raise UserError(
                f"{names} are different heads: to convert the motion, generate for one at a time."
            )
        (shown,) = heads
        if basis == "flame" or flame_file.kept_file(shown[1]) is None:
            flame_file.chosen_flame_file()


def objects_of(uids: Sequence[int]) -> list[bpy.types.Object]:
    """The objects with these session ids.

    Raises:
        UserError: one has been removed meanwhile.
    """
    by_uid = {item.session_uid: item for item in bpy.data.objects}
    try:
        return [by_uid[uid] for uid in uids]
    except KeyError:
        raise UserError("An object was removed while its motion was made. Nothing was keyed.") from None


def scene_of(uid: int) -> bpy.types.Scene:
    """The scene with this session id.

    Raises:
        UserError: it has been removed meanwhile.
    """
    for scene in bpy.data.scenes:
        if scene.session_uid == uid:
            return scene
    raise UserError("The scene was removed meanwhile. Nothing was changed.")
