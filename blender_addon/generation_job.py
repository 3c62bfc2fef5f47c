# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings to keys, as a job that is polled; it knows nothing of windows or operators.

The job talks to the backend first and touches the scene last, in one go: until then, and after any error or
cancelling, the scene is as it was. Objects are remembered by their session ids, because undo may replace
them while the job runs.
"""

import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import audio_strip, backend_session, presets
from .audio_strip import AudioSpan
from .backend_client import BackendError, Call
from .errors import UserError
from .keying import Performance, Take, key_performances, last_frame
from .motion import Motion, read_motion, resample_motion
from .rig import SHAPE_MARK
from .targets import Target, check_basis, find_targets

LOAD_SECONDS = 600.0
PROBE_SECONDS = 120.0
CANCEL_SECONDS = 5.0  # after which a backend that does not give a call up is killed
POLL_SECONDS = 0.05
STAGES = {"speech": ("Listening to the speech", 0.0, 0.1), "motion": ("Making the motion", 0.1, 0.95),
          "write": ("Writing the takes", 0.95, 1.0)}  # fmt: skip


@dataclass(frozen=True)
class Speech:
    """One recording and the objects that speak it."""

    span: AudioSpan
    objects: tuple[bpy.types.Object, ...]
    place_sound: bool = True


@dataclass(frozen=True)
class GenerationSettings:
    """How motion is made and keyed; None leaves a value to the model.

    style: as the protocol takes it: {"preset": id}, {"motion": path, "start_frame": int | None},
        {"vector": path} or None.
    seeds: one take each.
    head_bone: "neck" or "root".
    """

    seeds: tuple[int, ...]
    style: dict[str, Any] | None = None
    head_motion: bool = True
    head_strength: float = 1.0
    head_bone: str = "neck"
    speech_guidance: float | None = None
    style_guidance: float | None = None
    sampler: str | None = None
    steps: int | None = None
    model_directory: Path = presets.MODEL_DIRECTORY
    device: str = "auto"


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


@dataclass
class _Generated:
    """What the backend made of one recording."""

    takes: list[Motion]
    seeds: list[int]
    seconds: float


class GenerationJob:
    """A generation under way.

    state: "running", "done", "failed" or "cancelled".
    progress: 0 to 1.
    text: what is going on, for people.
    failure: why it failed or that it was cancelled; its text says what to do.
    results: when done, one entry for each recording.
    """

    def __init__(
        self, scene: bpy.types.Scene, speeches: Sequence[Speech], settings: GenerationSettings
    ) -> None:
        """Check what can be checked without the backend, and start.

        Raises:
            UserError: an object cannot be keyed, an audio file is missing, a setting is out of range, or no
                backend is set up.
            BackendError: the backend cannot be started.
        """
        _check(speeches, settings)
        self.settings = settings
        self.state = "running"
        self.progress = 0.0
        self.text = "Starting the backend"
        self.failure: Exception | None = None
        self.results: list[Keyed] = []
        self._scene = scene.session_uid
        self._speeches = [(replace(speech, objects=()), _uids(speech.objects)) for speech in speeches]
        self._client = backend_session.client()
        self._folder = Path(tempfile.mkdtemp(prefix="diffposetalk-", dir=bpy.app.tempdir or None))
        self._call: Call | None = None
        self._cancelled_at: float | None = None
        self._steps = self._run()

    def poll(self) -> str:
        """Go on as far as possible without waiting, and return the state."""
        if self.state != "running":
            return self.state
        try:
            self._client.poll()
            if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > CANCEL_SECONDS:
                self._client.kill()
            next(self._steps)
        except StopIteration:
            self._end("done")
        except BackendError as error:
            if error.kind == "cancelled" or self._cancelled_at is not None:
                self._end("cancelled", BackendError("Cancelled. Nothing was keyed.", "cancelled"))
            else:
                self._end("failed", error)
        except UserError as error:
            self._end("failed", error)
        except BaseException:
            self._end("failed", UserError("An internal error occurred; see the system console."))
            raise
        return self.state

    def wait(self, timeout: float | None = None) -> str:
        """Poll until the job has ended, or for `timeout` seconds, and return the state."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while self.poll() == "running" and (deadline is None or time.monotonic() < deadline):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.cancel()
            raise
        return self.state

    def cancel(self) -> None:
        """Give up; the scene stays as it is. The job is over when `poll` says so, within seconds."""
        if self.state != "running" or self._cancelled_at is not None:
            return
        self._cancelled_at = time.monotonic()
        self.text = "Cancelling"
        if self._call is not None:
            self._call.cancel()

    def _end(self, state: str, failure: Exception | None = None) -> None:
        self.state, self.failure = state, failure
        self.text = {"done": "Done", "failed": "Failed", "cancelled": "Cancelled"}[state]
        if state == "done":
            self.progress = 1.0
        self._steps.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> Generator[None, None, None]:
        """The job's course; it yields wherever it waits."""
        yield from self._wait_for(self._client.greeting)
        for speech, _ in self._speeches:  # bad audio is told before the model is loaded
            self.text = "Reading the audio"
            probe = {"path": speech.span.path}
            yield from self._wait_for(self._client.call("probe_audio", probe, PROBE_SECONDS))
        yield from self._load_model()
        generated = []
        for index in range(len(self._speeches)):
            generated.append((yield from self._generate(index)))
        self.text = "Keying"
        yield
        self._key(generated)

    def _wait_for(self, call: Call) -> Generator[None, None, None]:
        """Wait for a call; afterwards its result can be taken without an error."""
        self._call = call
        if self._cancelled_at is not None:
            call.cancel()
        while not call.done:
            yield
        self._call = None
        call.result  # noqa: B018 - raises the call's error
        if self._cancelled_at is not None:
            raise BackendError("Cancelled.", "cancelled")

    def _load_model(self) -> Generator[None, None, None]:
        directory, device = self.settings.model_directory, self.settings.device
        told = backend_session.loaded_model(directory, device)
        if told is None:
            backend_session.forget_loaded()
            self.text = "Loading the model"
            params = {"model": str(directory), "device": device}
            call = self._client.call("load_model", params, LOAD_SECONDS)
            yield from self._wait_for(call)
            told = call.result
            backend_session.note_loaded(directory, device, told)
        for target in self._all_targets():
            check_basis(target, told["basis"])

    def _generate(self, index: int) -> Generator[None, None, _Generated]:
        """Generate the takes of one recording; the generator's value is a `_Generated`."""
        speech, uids = self._speeches[index]
        settings = self.settings
        params = {
            "audio": speech.span.path,
            "audio_start": speech.span.start,
            "audio_seconds": speech.span.seconds,
            "output_dir": str(self._folder / str(index)),
            "style": settings.style,
            "shape": self._shape_file(uids),
            "seeds": list(settings.seeds),
            "head_pose": settings.head_motion and settings.head_strength > 0,
            "speech_guidance": settings.speech_guidance,
            "style_guidance": settings.style_guidance,
            "sampler": settings.sampler,
            "steps": settings.steps,
        }

        def on_notice(method: str, told: dict[str, Any]) -> None:
            if method != "progress" or told.get("stage") not in STAGES or self._cancelled_at is not None:
                return
            text, low, high = STAGES[told["stage"]]
            part = min(1.0, told["done"] / max(1, told["total"]))
            of = f" ({index + 1} of {len(self._speeches)})" if len(self._speeches) > 1 else ""
            self.text = f"{text}{of}"
            self.progress = (index + low + (high - low) * part) / len(self._speeches)

        call = self._client.call("generate", params, on_notice=on_notice)
        yield from self._wait_for(call)
        takes = call.result["takes"]
        return _Generated(
            [read_motion(take["path"]) for take in takes],
            [int(take["seed"]) for take in takes],
            float(call.result["audio"]["seconds"]),
        )

    def _shape_file(self, uids: tuple[int, ...]) -> str | None:
        """The identity of the first speaker as a file, or None for the mean face."""
        shape = _objects(uids)[0].get(SHAPE_MARK)
        if shape is None:
            return None
        path = self._folder / "shape.npy"
        coefficients = np.zeros(100, np.float32)
        coefficients[: len(shape)] = shape
        np.save(path, coefficients)
        return str(path)

    def _all_targets(self) -> list[Target]:
        jaw_open_angle = presets.bundled_jaw_open_angle()
        return [t for _, uids in self._speeches for t in find_targets(_objects(uids), jaw_open_angle)]

    def _key(self, generated: list[_Generated]) -> None:
        """Write everything into the scene, or nothing."""
        scene = next((s for s in bpy.data.scenes if s.session_uid == self._scene), None)
        if scene is None:
            raise UserError("The scene was removed while its motion was made.")
        fps = audio_strip.frames_per_second(scene)
        jaw_open_angle = presets.bundled_jaw_open_angle()
        performances = []
        for (speech, uids), made in zip(self._speeches, generated, strict=True):
            name = Path(speech.span.path).stem
            takes = tuple(
                Take(resample_motion(motion, fps), f"{name} · take {t + 1} (seed {seed})")
                for t, (motion, seed) in enumerate(zip(made.takes, made.seeds, strict=True))
            )
            targets = tuple(find_targets(_objects(uids), jaw_open_angle))
            performances.append(Performance(targets, takes, speech.span.frame))
        strips: list[Any] = []
        results = []
        try:
            for (speech, _), made, performance in zip(self._speeches, generated, performances, strict=True):
                strip, warning = None, ""
                if speech.place_sound:
                    strip, warning = audio_strip.place_sound(
                        scene, speech.span.path, round(speech.span.frame), made.seconds
                    )
                if strip is not None:
                    strips.append(strip)
                results.append(
                    Keyed(
                        [target.mesh for target in performance.targets],
                        speech.span.path,
                        made.seeds,
                        [],
                        strip,
                        speech.span.frame,
                        last_frame(performance.takes[0].motion, speech.span.frame),
                        [warning] if warning else [],
                    )
                )
            strength = self.settings.head_strength if self.settings.head_motion else 0.0
            actions = key_performances(performances, self.settings.head_bone, strength)
        except BaseException:
            for strip in strips:
                audio_strip.remove_strip(scene, strip)
            raise
        for result, by_take in zip(results, actions, strict=True):
            result.actions = by_take
            scene.frame_end = max(scene.frame_end, result.last_frame)
        self.results = results


def _check(speeches: Sequence[Speech], settings: GenerationSettings) -> None:
    """Raise UserError for what is wrong already before the backend is asked."""
    if not speeches:
        raise UserError("There is no recording to make motion from.")
    if not settings.seeds:
        raise UserError("At least one seed is needed: each makes a take.")
    if settings.steps is not None and settings.steps < 1:
        raise UserError("At least one denoising step is needed.")
    if settings.head_bone not in ("neck", "root"):
        raise UserError(f"The head rotation goes to the “neck” or the “root”, not to “{settings.head_bone}”.")
    seen = set()
    for speech in speeches:
        for target in find_targets(speech.objects, presets.bundled_jaw_open_angle()):
            if target.mesh.data.shape_keys in seen:
                raise UserError(f"“{target.mesh.name}” is to speak two recordings at once. Give it one.")
            seen.add(target.mesh.data.shape_keys)
        audio_strip.check_audio_path(speech.span.path)
    motion = (settings.style or {}).get("motion")
    if motion is not None and not Path(motion).is_file():
        raise UserError(f"The style's motion file “{motion}” does not exist. Choose another one.")


def _uids(objects: Sequence[bpy.types.Object]) -> tuple[int, ...]:
    return tuple(item.session_uid for item in objects)


def _objects(uids: tuple[int, ...]) -> list[bpy.types.Object]:
    """The objects with these session ids.

    Raises:
        UserError: one has been removed meanwhile.
    """
    by_uid = {item.session_uid: item for item in bpy.data.objects}
    missing = [uid for uid in uids if uid not in by_uid]
    if missing:
        raise UserError("An object was removed while its motion was made. Nothing was keyed.")
    return [by_uid[uid] for uid in uids]
