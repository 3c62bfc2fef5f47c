# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process: the engine's verbs as JSON-RPC methods over standard input and output.

Standard output belongs to the protocol alone: its descriptor is taken at the start, and whatever a library
prints goes to the log on standard error. No port is opened, and nothing is fetched from a network but by
`fetch_tracker`, which needs permission. The process ends when its input ends or its parent is gone, and a cancelled
or failed call leaves no files behind.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .. import __version__
from ..config import QUALITIES
from ..errors import Cancelled, DiffPoseTalkError, ModelError, OutputError, ProtocolError, memory_ran_out
from ..sound.audio import AudioInfo, probe
from .jsonrpc import INTERNAL_ERROR, REQUEST_CANCELLED, SERVER_ERROR, Call, Connection, Method, RpcError

if TYPE_CHECKING:
    from ..motion.clip import MotionClip
    from ..networks.model import DiffPoseTalk

PROTOCOL_VERSION = 1
PARENT_POLL_SECONDS = 0.5
TIDY_UP_SECONDS = 5.0  # what a cancelled call may take to remove its files when the process ends
PROGRESS_SECONDS = 0.05  # between two progress notifications of one stage
MAX_TAKES = 64
WORKING_FOLDER = "diffposetalk-run-"  # how the folder's name begins in which the add-on starts the backend
LONGEST_NAME = 80  # characters of a file's name in a message

log = logging.getLogger(__name__)


class Backend:
    """The methods of the protocol and the one thing they share: the loaded model."""

    def __init__(self) -> None:
        self.greeted = False
        self.model: DiffPoseTalk | None = None
        self.folder: Path | None = None
        """Of the model."""
        self.draft: DiffPoseTalk | None = None
        self.connection: Connection | None = None

    def methods(self) -> dict[str, Method]:
        """The methods by their names in the protocol."""
        return {
            "initialize": Method(self.initialize),
            "load_model": Method(self.load_model, long=True),
            "probe_audio": Method(self.probe_audio, aside=True),
            "generate": Method(self.generate, long=True),
            "regenerate": Method(self.regenerate, long=True),
            "extract_style": Method(self.extract_style, long=True),
            "preview_reference": Method(self.preview_reference, long=True),
            "mix_styles": Method(self.mix_styles, long=True),
            "tracking_status": Method(self.tracking_status),
            "fetch_tracker": Method(self.fetch_tracker, long=True),
            "find_faces": Method(self.find_faces, long=True),
            "track_video": Method(self.track_video, long=True),
            "check_lip_sync": Method(self.check_lip_sync, long=True),
            "align_transcript": Method(self.align_transcript, long=True),
            "export_motion": Method(self.export_motion, long=True),
            "import_motion": Method(self.import_motion, long=True),
            "convert_flame": Method(self.convert_flame, long=True),
            "convert_checkpoint": Method(self.convert_checkpoint, long=True),
            "cancel": Method(self.cancel),
            "shutdown": Method(self.shutdown),
        }

    def initialize(self, call: Call, *, protocol: int, client: str = "", version: str = "") -> dict[str, Any]:
        """The handshake, first of all calls. Refuses another protocol version."""
        if protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"The client speaks protocol {protocol}, this backend (version {__version__}) speaks "
                f"{PROTOCOL_VERSION}. Install the add-on and its backend from the same package.",
            )
        log.info("client %s %s", client, version)
        self.greeted = True
        devices = available_devices()
        return {
            "protocol": PROTOCOL_VERSION,
            "version": __version__,
            "python": platform.python_version(),
            "torch": importlib.metadata.version("torch"),
            "device": devices[0],
            "devices": devices,
        }

    def load_model(
        self,
        call: Call,
        *,
        model: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> dict[str, Any]:
        """Load a model directory (none: the bundled one) and describe it."""
        self._require_handshake()
        from ..generation import speak as _  # noqa: F401 - what the first generation will need is loaded now
        from ..generation.draft import has_draft
        from ..motion.channel_groups import channel_groups
        from ..networks.checkpoint import bundled_model_path, load_model
        from ..networks.device import give_memory_back

        self.model, self.draft = load_model(model, device, precision, threads), None
        give_memory_back()
        self.folder = Path(model) if model else bundled_model_path()
        config = self.model.config
        sampling = config.sampling
        return {
            "name": config.name,
            "basis": config.basis,
            "fps": config.fps,
            "head_pose": config.head_pose,
            "draft": has_draft(self.folder),
            "expression_names": list(config.expression_names),
            "channel_groups": channel_groups(config.basis, config.denoiser.motion_dim),
            "styles": [
                {
                    "id": key,
                    "name": style.name,
                    "description": style.description,
                    "measures": style.measures.to_dict() if style.measures else None,
                }
                for key, style in self.model.styles.items()
            ],
            "defaults": {
                "speech_guidance": sampling.speech_guidance,
                "style_guidance": sampling.style_guidance,
                "sampler": sampling.sampler,
                "steps": sampling.steps,
                "style": sampling.style,
            },
            "device": str(self.model.device),
            "compute": self.model.compute.describe(),
            "sha256": self.model.sha256,
        }

    def probe_audio(self, call: Call, *, path: str) -> dict[str, Any]:
        """Describe a recording."""
        self._require_handshake()
        progress = _Progress(call)
        return _describe(
            probe(path, call.cancelled.is_set, lambda done, total: progress("read", done, total))
        )

    def generate(
        self,
        call: Call,
        *,
        audio: str,
        output_dir: str,
        seeds: list[int],
        audio_start: float = 0.0,
        audio_seconds: float | None = None,
        style: dict[str, Any] | None = None,
        shape: str | None = None,
        head_pose: bool = True,
        speech_guidance: float | None = None,
        style_guidance: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        heads: dict[str, str] | None = None,
        quality: str = "final",
    ) -> dict[str, Any]:
        """Generate one take per seed into `output_dir`, telling progress and finished windows meanwhile.

        A `window` notification names a file of frames that are final: no later window, filter or join changes them,
        and those of a take, in order, are the take. `start` and `frames` say which they are; where the model filters
        the head, half the filter's length waits for the next window.

        With `heads` (`model` and `target`, paths of head assets) clips and windows come in the target's basis.
        """
        from ..generation.speak import animate

        model = self._of_quality(quality)
        began, between = time.monotonic(), _checked(seeds, heads)
        progress = _Progress(call)
        with _output_files(output_dir) as new_file:

            def on_window(take: int, start: int, clip: MotionClip) -> None:
                path = clip.save(new_file(f"window-{take}-{start}.npz"))
                call.notify("window", take=take, start=start, frames=len(clip), path=str(path))

            speech, clips = animate(
                model,
                audio,
                audio_start=audio_start,
                audio_seconds=audio_seconds,
                seeds=seeds,
                style=style,
                shape=shape,
                head_pose=head_pose,
                speech_guidance=speech_guidance,
                style_guidance=style_guidance,
                sampler=sampler,
                steps=steps,
                on_progress=progress,
                on_window=on_window,
                cancelled=call.cancelled.is_set,
                heads=between,
            )
            takes = _write_takes(call, progress, new_file, seeds, clips)
        info = AudioInfo(
            speech.name,
            speech.seconds,
            speech.sample_rate_in,
            speech.channels_in,
            speech.sha256,
            speech.frames,
        )
        return {"takes": takes, "audio": _describe(info), "seconds": round(time.monotonic() - began, 3)}

    def regenerate(
        self,
        call: Call,
        *,
        audio: str,
        motion: str,
        output_dir: str,
        start: int,
        stop: int,
        seeds: list[int],
        hold: list[dict[str, Any]] | None = None,
        audio_start: float = 0.0,
        audio_seconds: float | None = None,
        style: dict[str, Any] | None = None,
        shape: str | None = None,
        speech_guidance: float | None = None,
        style_guidance: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        heads: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Generate frames `start` to `stop` (exclusive) of the take in the file `motion` again, once per seed.

        The files in the answer hold whole takes, equal to `motion` bit for bit outside the range and where `hold`
        says so. Progress is told as by `generate`, finished windows are not. With `heads`, as of `generate`, the take
        is in the target's basis.
        """
        model = self._require_model()
        began, between = time.monotonic(), _checked(seeds, heads)
        progress = _Progress(call)
        with _output_files(output_dir) as new_file:
            from ..generation.speak import reanimate

            _, clips = reanimate(
                model,
                audio,
                motion,
                start,
                stop,
                seeds=seeds,
                hold=hold or [],
                audio_start=audio_start,
                audio_seconds=audio_seconds,
                style=style,
                shape=shape,
                speech_guidance=speech_guidance,
                style_guidance=style_guidance,
                sampler=sampler,
                steps=steps,
                on_progress=progress,
                cancelled=call.cancelled.is_set,
                heads=between,
            )
            takes = _write_takes(call, progress, new_file, seeds, clips)
        return {
            "takes": takes,
            "start": start,
            "stop": stop,
            "seconds": round(time.monotonic() - began, 3),
        }

    def extract_style(
        self,
        call: Call,
        *,
        motion: str,
        output: str,
        start_frame: int | None = None,
        window: str = "auto",
        heads: dict[str, str] | None = None,
        description: str = "",
        source: dict[str, Any] | None = None,
        notes: list[str] | None = None,
    ) -> dict[str, Any]:
        """Write the style of a reference motion, as a style file (`.dptstyle`) or a bare vector (`.npy`).

        The style is named after the file. `start_frame` (25 a second) or `window` (“auto”, “mean”) say which four
        seconds; `source` and `notes` are kept in the style's file; `heads` as of `styles.resolve_style`.
        """
        model = self._require_model()
        from ..styles import extraction_call

        return extraction_call.extract(
            model, motion, output, start_frame, window, heads, description, source, notes
        )

    def preview_reference(
        self,
        call: Call,
        *,
        motion: str,
        output: str,
        start_frame: int | None = None,
        window: str = "auto",
        heads: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Plot a reference with the four seconds that `extract_style` would read, as a picture (`.png`)."""
        model = self._require_model()
        from ..styles import extraction_call

        return extraction_call.preview(model, motion, output, start_frame, window, heads)

    def mix_styles(
        self, call: Call, *, styles: list[dict[str, Any]], amounts: list[float], output: str
    ) -> dict[str, Any]:
        """Write a mixture of presets and style files as a style file named after `output`."""
        model = self._require_model()
        from ..styles import extraction_call

        return extraction_call.mix(model, styles, amounts, output)

    def tracking_status(self, call: Call, *, tracker: str | None = None) -> dict[str, Any]:
        """Whether video can be tracked here: packages, and the tracker's model file."""
        self._require_handshake()
        from ..tracking.tracker_file import tracking_status

        return tracking_status(tracker)

    def fetch_tracker(self, call: Call, *, allow_online: bool) -> dict[str, Any]:
        """Fetch the face tracker's model file, with the user's permission."""
        self._require_handshake()
        from ..tracking.tracker_file import BYTES, fetch_tracker

        progress = _Progress(call)
        path = fetch_tracker(
            allow_online,
            on_progress=lambda done: progress("fetch", done, BYTES),
            cancelled=call.cancelled.is_set,
        )
        return {"path": str(path)}

    def find_faces(
        self, call: Call, *, video: str, output_dir: str, tracker: str | None = None
    ) -> dict[str, Any]:
        """The people in a video, the largest first, each with a picture to be picked by."""
        self._require_handshake()
        with _output_files(output_dir) as new_file:
            from ..files.png import write_png
            from ..tracking.face_choice import find_faces

            faces = [
                {
                    "x": face.x,
                    "y": face.y,
                    "size": face.size,
                    "seen": face.seen,
                    "picture": str(write_png(new_file(f"face-{index}.png"), face.snapshot.image)),
                }
                for index, face in enumerate(find_faces(video, tracker))
            ]
        return {"faces": faces}

    def track_video(
        self,
        call: Call,
        *,
        video: str,
        output_dir: str,
        tracker: str | None = None,
        face: list[float] | None = None,
        neutral: str | None = None,
    ) -> dict[str, Any]:
        """Track a face through a video: its motion, a contact sheet of what was seen, and how good it is.

        `face` is the place of the one that is meant; `neutral` a picture or short video of the person at rest.
        """
        self._require_handshake()
        if face is not None and len(face) != 2:
            raise DiffPoseTalkError("A face is named by its place, x and y.", "video_face")
        progress = _Progress(call)
        with _output_files(output_dir) as new_file:
            from ..files.png import write_png
            from ..head.head_model import load_head
            from ..tracking.contact_sheet import contact_sheet
            from ..tracking.performance import track_performance

            head = load_head()
            tracked = track_performance(
                video,
                tracker,
                face=None if face is None else (float(face[0]), float(face[1])),
                neutral=neutral,
                head=head,
                on_progress=lambda done, total: progress("tracking", done, total),
                cancelled=call.cancelled.is_set,
            )
            motion = tracked.clip.save(new_file("motion.npz"))
            sheet = write_png(
                new_file("contact-sheet.png"), contact_sheet(tracked.clip, tracked.snapshots, head)
            )
            if call.cancelled.is_set():
                raise Cancelled()
        return {
            "motion": str(motion),
            "contact_sheet": str(sheet),
            "frames": len(tracked.clip),
            "fps": float(tracked.clip.fps),
            "unseen": tracked.clip.provenance["unseen"],
            "summary": tracked.quality.describe(),
            "quality": tracked.quality.to_dict(),
            "warnings": list(tracked.quality.warnings),
        }

    def check_lip_sync(
        self,
        call: Call,
        *,
        audio: str,
        motion: str,
        audio_start: float = 0.0,
        audio_seconds: float | None = None,
        transcript: str | None = None,
        phones: list[list[Any]] | None = None,
        style: dict[str, Any] | None = None,
        head: str | None = None,
        samples: int = 5,
    ) -> dict[str, Any]:
        """Frames where the lips were expected to close and do not, and why (`evaluate.lip_sync_check`).

        Expected by `phones` ([ARPAbet symbol, start, end] in seconds), else by the `transcript`, else by the model's
        own confidence, which needs a loaded model. `head` is a head asset of the motion's basis, the bundled one by
        default. Times are from `audio_start`, where the motion begins.
        """
        self._require_handshake()
        model = None if phones is not None or transcript else self._require_model()
        from ..lips.check import check_lip_sync

        found = check_lip_sync(
            audio,
            motion,
            model,
            audio_start=audio_start,
            audio_seconds=audio_seconds,
            transcript=transcript,
            phones=phones,
            style=style,
            head=head,
            samples=samples,
            on_progress=_Progress(call),
            cancelled=call.cancelled.is_set,
        )
        if call.cancelled.is_set():
            raise Cancelled()
        return found

    def align_transcript(
        self,
        call: Call,
        *,
        audio: str,
        transcript: str,
        audio_start: float = 0.0,
        audio_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Words and phones of a recording in time, seconds from `audio_start`, by an English transcript."""
        self._require_handshake()
        from ..lips.check import align_transcript

        words, phones = align_transcript(audio, transcript, audio_start, audio_seconds)
        if call.cancelled.is_set():
            raise Cancelled()
        return {"words": [[w.text, w.start, w.stop] for w in words], "phones": [list(p) for p in phones]}

    def export_motion(
        self, call: Call, *, motion: str, output: str, fps: float | None = None
    ) -> dict[str, Any]:
        """Write a motion file in the format of `output`'s suffix: .csv (Live Link Face), .json (ARKit curves), .npz."""
        self._require_handshake()
        from ..motion.formats.arkit_curves import read_unchanged, write_motion

        return {"path": str(write_motion(read_unchanged(motion), output, fps))}

    def import_motion(self, call: Call, *, path: str, output: str, calibrate: bool = False) -> dict[str, Any]:
        """Write a Live Link Face table, ARKit curves or a clip as a motion clip (`.npz`), values as they stand.

        With `calibrate` a Live Link Face capture loses its neutral face, the head's mean direction and noise.
        """
        self._require_handshake()
        from ..motion.formats.arkit_curves import read_unchanged

        clip = read_unchanged(path, calibrate=calibrate)
        written = clip.save(output)
        kind = {".csv": "live_link", ".json": "arkit_curves"}.get(Path(path).suffix.lower(), "clip")
        return {
            "path": str(written),
            "frames": len(clip),
            "fps": float(clip.fps),
            "basis": clip.basis,
            "kind": kind,
        }

    def convert_flame(self, call: Call, *, path: str, output: str) -> dict[str, Any]:
        """Write the head asset of a FLAME file (`.pkl` or `.npz`, as it was downloaded)."""
        self._require_handshake()
        from ..convert.flame import convert_flame

        summary = convert_flame(path, output)
        if call.cancelled.is_set():
            summary.path.unlink(missing_ok=True)
            raise Cancelled()
        return {
            "path": str(summary.path),
            "name": summary.name,
            "vertices": summary.vertices,
            "lips": summary.lips,
            "regions": summary.regions,
            "uv": summary.uv,
        }

    def convert_checkpoint(
        self, call: Call, *, denoiser: str, style_encoder: str, statistics: str, output: str
    ) -> dict[str, Any]:
        """Make a model directory, which must not exist, of a released set: two `.pt` files and `stats_train.npz`."""
        self._require_handshake()
        from ..convert.checkpoint import convert_checkpoint

        summary = convert_checkpoint(denoiser, style_encoder, statistics, output)
        if call.cancelled.is_set():
            shutil.rmtree(summary.folder)
            raise Cancelled()
        return {"path": str(summary.folder), "description": summary.description}

    def cancel(self, call: Call, *, id: str | int) -> dict[str, Any]:
        """Cancel a running or waiting call."""
        assert self.connection is not None
        return {"cancelled": self.connection.cancel(id)}

    def shutdown(self, call: Call) -> dict[str, Any]:
        """End the process after this answer."""
        assert self.connection is not None
        self.connection.close()
        return {}

    def _require_handshake(self) -> None:
        if not self.greeted:
            raise ProtocolError("Call initialize first.", "not_initialized")

    def _require_model(self) -> DiffPoseTalk:
        self._require_handshake()
        if self.model is None:
            raise ModelError("No model is loaded. Call load_model first.", "model_not_loaded")
        return self.model

    def _of_quality(self, quality: str) -> DiffPoseTalk:
        """The loaded model, or its draft, which is loaded when it is first wanted."""
        model = self._require_model()
        if quality not in QUALITIES:
            raise DiffPoseTalkError(
                f"The quality is one of {', '.join(QUALITIES)}, not {quality!r}.", "settings_quality"
            )
        if quality == "final":
            return model
        from ..generation.draft import load_draft

        assert self.folder is not None
        if self.draft is None:
            self.draft = load_draft(self.folder, model)
        return self.draft


def available_devices() -> list[str]:
    """Compute devices of this machine, the preferred one first. Imports torch unless it is a CPU build."""
    if importlib.metadata.version("torch").endswith("+cpu"):
        return ["cpu"]
    from ..networks import device

    return device.available_devices()


def explain(error: Exception) -> RpcError:
    """What the client is told of an exception; the traceback of an unforeseen one goes to the log."""
    if isinstance(error, Cancelled):
        return RpcError(REQUEST_CANCELLED, error.message, error.kind)
    if isinstance(error, DiffPoseTalkError):
        return RpcError(SERVER_ERROR, error.message, error.kind)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RpcError(SERVER_ERROR, "The disk is full. Free some space and try again.", "disk_full")
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        log.warning("a file cannot be used", exc_info=error)
        name = Path(error.filename).name[:LONGEST_NAME]
        return RpcError(SERVER_ERROR, f"“{name}” cannot be used: {error.strerror}.", "file_unusable")
    if memory_ran_out(error):
        return RpcError(
            SERVER_ERROR,
            "There is not enough memory. Make fewer takes at once, or use the CPU device.",
            "out_of_memory",
        )
    log.error("unforeseen error", exc_info=error)
    return RpcError(
        INTERNAL_ERROR,
        f"An internal error occurred ({type(error).__name__}: {error}). See the log.",
        "internal",
    )


@contextlib.contextmanager
def _output_files(folder: str) -> Iterator[Any]:
    """A function that names new files in `folder`; those named are removed again if the body fails."""
    directory = Path(folder)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"The folder “{folder}” for the results cannot be made: {error}.") from error
    token = uuid.uuid4().hex[:8]
    made: list[Path] = []

    def new_file(name: str) -> Path:
        made.append(directory / f"{token}-{name}")
        return made[-1]

    try:
        yield new_file
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _checked(seeds: Sequence[int], heads: dict[str, str] | None) -> tuple[str, str] | None:
    """The heads between which takes are converted, for as many takes as one call may make.

    Raises:
        DiffPoseTalkError: kinds settings_seed, settings_heads.
    """
    if len(seeds) > MAX_TAKES:
        raise DiffPoseTalkError(f"At most {MAX_TAKES} takes can be made in one call.", "settings_seed")
    if heads is None:
        return None
    if not {"model", "target"} <= heads.keys():
        raise DiffPoseTalkError("Conversion needs two heads, “model” and “target”.", "settings_heads")
    return heads["model"], heads["target"]


class _Progress:
    """Passes progress on to the client, not more often than a person can see."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.stage = ""
        self.next_time = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self.stage and done < total and now < self.next_time:
            return
        self.stage, self.next_time = stage, now + PROGRESS_SECONDS
        self.call.notify("progress", stage=stage, done=done, total=total)


def _write_takes(
    call: Call, progress: _Progress, new_file: Any, seeds: list[int], clips: list[MotionClip]
) -> list[dict[str, Any]]:
    """Write clips, one per seed, and describe the files."""
    takes = []
    for index, (seed, clip) in enumerate(zip(seeds, clips, strict=True)):
        if call.cancelled.is_set():
            raise Cancelled()
        progress("write", index, len(clips))
        path = clip.save(new_file(f"take-{index}-seed-{seed}.npz"))
        takes.append({"seed": seed, "path": str(path), "frames": len(clip), "fps": float(clip.fps)})
    progress("write", len(clips), len(clips))
    return takes


def _describe(info: AudioInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "seconds": info.seconds,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "sha256": info.sha256,
        "frames": info.frames,
    }


def serve() -> None:
    """Run the backend on standard input and output until the client leaves. Does not return."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Libraries must neither fetch anything nor report that they ran.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[name] = "1"
    parent = os.getppid()
    reader, writer = _take_standard_streams()
    backend = Backend()
    connection = Connection(reader, writer, backend.methods(), explain)
    backend.connection = connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in Blender's terminal is meant for Blender
    signal.signal(signal.SIGTERM, _leave_on_signal)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # Blender's window comes first
    threading.Thread(target=_watch, args=(parent, connection), name="watch", daemon=True).start()
    status = 0
    try:
        connection.serve()
    except SystemExit:
        pass
    except Exception:
        log.exception("the connection broke")
        status = 1
    connection.stop(TIDY_UP_SECONDS)
    sys.stderr.flush()
    _remove_working_folder()
    os._exit(status)  # threads of libraries must not keep the process


def _remove_working_folder() -> None:
    """Remove the empty folder that Blender made for this process to work in; Blender may be gone."""
    with contextlib.suppress(OSError):
        folder = Path.cwd()
        if folder.name.startswith(WORKING_FOLDER):
            os.chdir(folder.parent)  # Windows keeps a folder that somebody works in
            folder.rmdir()


def _leave_on_signal(*_: object) -> None:
    raise SystemExit


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's own copies of standard input and output; the originals become nothing and the log."""
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (0, 1):
            msvcrt.setmode(descriptor, os.O_BINARY)
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return reader, writer


def _watch(parent: int, connection: Connection) -> None:
    """End the process when its parent is gone although something still holds the input's other end open."""
    if sys.platform == "win32":
        _wait_for_process(parent)
    else:
        while os.getppid() == parent and not connection.lost.wait(PARENT_POLL_SECONDS):
            pass
    log.warning("the client is gone")
    connection.stop(TIDY_UP_SECONDS)
    _remove_working_folder()
    os._exit(1)


def _wait_for_process(pid: int) -> None:
    """Block until a Windows process ends."""
    import ctypes

    synchronize, infinite = 0x00100000, 0xFFFFFFFF
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if handle:
        kernel.WaitForSingleObject(ctypes.c_void_p(handle), infinite)
    else:  # not ours to watch: the end of the input must do
        threading.Event().wait()
