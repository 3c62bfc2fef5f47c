# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings to motion clips: speech features, windows, guided sampling (paper sections 3.2 and 3.3.3).

A recording's windows follow one another, each from the end of the one before. To keep the device full, takes
and recordings run side by side: every round samples the next window of each line under way, and a line that
has ended makes room for the next. Speech is heard and motion written window by window, so that an hour takes
no more memory than a minute.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..config import DETERMINISTIC_SAMPLERS, EXPRESSION_DIM, SAMPLERS, SamplingConfig
from ..diffusion.continuity import ContinuousDenoiser
from ..diffusion.guidance import Condition, DynamicThreshold, GuidedDenoiser, SparseBranch
from ..diffusion.inpainting import (
    FACE_FRAMES,
    HEAD_FRAMES,
    InpaintingDenoiser,
    Seams,
    Standing,
    place_windows,
)
from ..diffusion.samplers import Denoise, sample
from ..errors import Cancelled, DiffPoseTalkError, memory_ran_out
from ..motion.channel_groups import MOUTH, channels_of
from ..motion.clip import MotionClip, from_vectors
from ..motion.savitzky_golay import savitzky_golay_filter
from ..networks.device import device_errors, empty_cache, give_memory_back
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import OnChunk
from ..networks.speech.windows import SpeechWindows
from ..sound.audio import SpeechAudio
from ..sound.recording_noise import is_noisy

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total); stages are `speech` and `motion`."""
OnWindow = Callable[[int, int, MotionClip], None]
"""(take, first frame, clip) of frames that are final, as soon as they are: a window's, or those of it that a filter
over its end will not change any more; the others come with the next window."""

GUIDANCE_LIMIT = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """A recording to be spoken, in as many takes as there are seeds.

    Attributes:
        audio: the recording, 16 kHz mono.
        seeds: one per take, each 0 to 2**63 - 1.
        style: (S,) style vector, or None for no style.
        style_name: what the provenance calls the style.
        shape: (100,) identity coefficients; None is the mean of the training data.
        speech_guidance, style_guidance: w_a and w_s of equation 10; None takes the model's defaults.
        standing: motion of the same recording, of which only what is not known is generated; its frames are the
            clip's. None generates all of it.
    """

    audio: SpeechAudio
    seeds: Sequence[int]
    style: torch.Tensor | None = None
    style_name: str = ""
    shape: torch.Tensor | None = None
    speech_guidance: float | None = None
    style_guidance: float | None = None
    standing: Standing | None = None


@dataclass(frozen=True)
class Sampling:
    """How windows are sampled; None takes the model's default.

    Attributes:
        sampler: one of `config.SAMPLERS`.
        steps: network evaluations a window, 1..N; `ddpm` always takes all N.
        threshold: dynamic thresholding of the guidance branches, or none.
        head_pose: False leaves the head rotation at zero.
    """

    sampler: str | None = None
    steps: int | None = None
    threshold: DynamicThreshold | None = None
    head_pose: bool = True


def generate(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    *,
    style: torch.Tensor | None,
    seeds: Sequence[int],
    style_name: str = "",
    shape: torch.Tensor | None = None,
    head_pose: bool = True,
    speech_guidance: float | None = None,
    style_guidance: float | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    threshold: DynamicThreshold | None = None,
    on_progress: OnProgress | None = None,
    on_window: OnWindow | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[MotionClip]:
    """Generate one motion clip per seed; arguments as of `Line` and `Sampling`.

    A take depends only on its seed and the settings, not on the other takes beside it.

    Args:
        cancelled: asked between network evaluations; True raises `Cancelled`.

    Raises:
        Cancelled: `cancelled` said so.
        DiffPoseTalkError: a setting is out of range, the motion is not finite, or the device has failed.
    """
    line = Line(audio, seeds, style, style_name, shape, speech_guidance, style_guidance)
    results = generate_lines(
        model,
        [line],
        Sampling(sampler, steps, threshold, head_pose),
        on_progress=None if on_progress is None else lambda _, *progress: on_progress(*progress),
        on_window=None if on_window is None else lambda _, *window: on_window(*window),
        cancelled=cancelled,
    )
    [(_, clips)] = results
    return clips


def generate_lines(
    model: DiffPoseTalk,
    lines: Iterable[Line],
    sampling: Sampling | None = None,
    *,
    on_progress: Callable[[int, str, int, int], None] | None = None,
    on_window: Callable[[int, int, int, MotionClip], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[MotionClip]]]:
    """Generate many lines together, `model.compute.rows` windows at a time.

    Args:
        lines: taken from the iterable as there is room for them, so it may be long or read from disk.
        on_progress, on_window: as of `generate`, with the line's index first.
        cancelled: asked between network evaluations; True raises `Cancelled`.

    Yields:
        (index of the line, one clip per seed), each line as soon as it is finished.

    Raises:
        as `generate` does. When memory runs out, smaller batches are tried before that is an error.
    """
    run = _Run(model, sampling or Sampling(), on_progress, on_window, cancelled)
    try:
        yield from _side_by_side(model, lines, run)
    finally:
        run.thread.shutdown(wait=False, cancel_futures=True)


def _side_by_side(
    model: DiffPoseTalk, lines: Iterable[Line], run: _Run
) -> Iterator[tuple[int, list[MotionClip]]]:
    waiting = _parts(model, lines, run)
    active: list[_Part] = []
    held: deque[_Part] = deque()  # admitted already, put back because memory ran out
    limit = model.compute.rows
    collected: dict[int, dict[int, MotionClip]] = {}
    following = next(waiting, None)
    while active or held or following is not None:
        while True:
            part = held[0] if held else following
            if part is None or (active and sum(p.rows for p in active) + part.rows > limit):
                break
            active.append(part)
            if held:
                held.popleft()
            else:
                following = next(waiting, None)
        try:
            run.sample_window(active)
        except (RuntimeError, MemoryError) as error:
            if not memory_ran_out(error) or sum(p.rows for p in active) == 1:
                with device_errors(model.device):
                    raise
            limit = max(1, sum(p.rows for p in active) // 2)
            log.warning("memory ran out: batches of at most %d windows from here on", limit)
            active, held = _shrink(active, held, limit)
            empty_cache(model.device)
            continue
        for part in [p for p in active if p.finished]:
            active.remove(part)
            done = collected.setdefault(part.index, {})
            done.update(zip(part.takes, part.clips(run), strict=True))
            if len(done) == len(part.line.seeds):
                yield part.index, [done[take] for take in range(len(done))]
                del collected[part.index]
                give_memory_back()


def _parts(model: DiffPoseTalk, lines: Iterable[Line], run: _Run) -> Iterator[_Part]:
    """The lines, those of more takes than fit into a batch in several parts."""
    for index, line in enumerate(lines):
        _check_line(line)
        run.expect(index, line)
        takes = list(range(len(line.seeds)))
        for first in range(0, len(takes), model.compute.rows):
            yield _Part(model, index, line, takes[first : first + model.compute.rows])


def _shrink(active: list[_Part], held: deque[_Part], limit: int) -> tuple[list[_Part], deque[_Part]]:
    """The parts split and divided so that those active need at most `limit` rows."""
    pieces = [piece for part in active for piece in part.split(limit)]
    kept: list[_Part] = []
    while pieces and sum(p.rows for p in kept) + pieces[0].rows <= limit:
        kept.append(pieces.pop(0))
    return kept, deque([*pieces, *held])


class _Part:
    """Takes of one line on their way through its windows, in step with one another."""

    def __init__(self, model: DiffPoseTalk, index: int, line: Line, takes: list[int]) -> None:
        d = model.config.denoiser
        self.model, self.index, self.line, self.takes = model, index, line, takes
        self.frames, self.origin, self.windows = _extent(model, line)
        self.guidance = _Guidance.of(line, model.config.sampling)
        self.window = 0
        self.generators = [torch.Generator().manual_seed(line.seeds[take]) for take in takes]
        self.first_noise: torch.Tensor | None = None
        self.previous_motion = model.start_motion.expand(len(takes), -1, -1)
        self.previous_speech = model.start_speech[0]
        self.speech: SpeechWindows | None = None
        self.motion: list[np.ndarray] = []
        self.told = 0  # frames that on_window was given
        self.clean: torch.Tensor | None = None
        if line.standing is not None:
            vectors = torch.from_numpy(line.standing.vectors).to(model.device)
            self.clean = model.normalizer.normalize(vectors)
            if self.origin:
                before = self.clean[self.origin - d.previous : self.origin]
                self.previous_motion = before.expand(len(takes), -1, -1)

    @property
    def rows(self) -> int:
        """Rows of a batch that this takes up."""
        return len(self.takes)

    @property
    def first_frame(self) -> int:
        """First frame of the window to come."""
        return self.origin + self.window * self.model.config.denoiser.window

    @property
    def real_frames(self) -> int:
        """Frames of the window to come that the recording reaches into."""
        return min(self.model.config.denoiser.window, self.frames - self.first_frame)

    @property
    def finished(self) -> bool:
        """Whether all windows are done."""
        return self.window == self.windows

    def draw_noise(self) -> torch.Tensor:
        """Standard normal (rows, T_w, D) on the CPU; a row depends on its own seed alone."""
        d = self.model.config.denoiser
        return torch.stack([torch.randn(d.window, d.motion_dim, generator=g) for g in self.generators])

    def start_noise(self) -> torch.Tensor:
        """What the window to come is made from."""
        if self.first_noise is None:
            self.first_noise = self.draw_noise()
            return self.first_noise
        return self.first_noise if self.model.config.sampling.reuse_noise else self.draw_noise()

    def current_speech(self, run: _Run) -> torch.Tensor:
        """Projected speech features (T_w, C) of the window to come."""
        if self.speech is None:
            on_chunk = run.on_chunk(self.index) if self.window == 0 else None
            self.speech = SpeechWindows(
                self.model, self.line.audio, self.windows, run.thread, on_chunk, self.origin
            )
            if self.origin and self.window == 0:
                self.previous_speech = self.speech.before(self.model.config.denoiser.previous, run.check)
            self.speech.skip(self.window, run.check)
        return self.speech.window(self.window, run.check)

    def known(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised motion that stands in the window to come, and where: both (T_w, D)."""
        d, standing = self.model.config.denoiser, self.line.standing
        clean = torch.zeros(d.window, d.motion_dim, device=self.model.device)
        mask = torch.zeros(d.window, d.motion_dim, dtype=torch.bool, device=self.model.device)
        if standing is not None and self.clean is not None:
            here = slice(self.first_frame, self.first_frame + self.real_frames)
            clean[: self.real_frames] = self.clean[here]
            mask[: self.real_frames] = torch.from_numpy(standing.known[here]).to(self.model.device)
        return clean, mask

    def goes_on(self) -> bool:
        """Whether the window to come continues generated motion, which nothing known at its start does for it."""
        standing = self.line.standing
        return self.window > 0 and (standing is None or not standing.known[self.first_frame].all())

    def split(self, limit: int) -> list[_Part]:
        """This, in pieces of at most `limit` takes, each going on from the same window."""
        if self.rows <= limit:
            return [self]
        pieces = []
        for first in range(0, self.rows, limit):
            chosen = slice(first, first + limit)
            piece = _Part(self.model, self.index, self.line, self.takes[chosen])
            piece.window, piece.generators = self.window, self.generators[chosen]
            piece.first_noise = None if self.first_noise is None else self.first_noise[chosen]
            piece.previous_motion = self.previous_motion[chosen]
            piece.previous_speech = self.previous_speech
            piece.motion, piece.told = [motion[chosen] for motion in self.motion], self.told
            pieces.append(piece)
        return pieces

    def clips(self, run: _Run) -> list[MotionClip]:
        """The finished takes."""
        made, standing = np.concatenate(self.motion, axis=1), self.line.standing
        defaults = self.model.config.sampling
        if standing is not None:
            whole = np.repeat(standing.vectors[None], self.rows, axis=0)
            here = slice(self.origin, self.origin + made.shape[1])
            whole[:, here] = np.where(standing.known[here], whole[:, here], made)
            made = whole
        smoothed = smooth_head(made, defaults.smooth_head)
        if standing is not None:
            # The filter moves what stands, too: by how much, the frames beside it have to follow.
            vectors, known = (
                torch.from_numpy(a)[None].expand(made.shape) for a in (standing.vectors, standing.known)
            )
            seams = Seams(
                vectors, known, defaults.join_face or FACE_FRAMES, defaults.join_head or HEAD_FRAMES
            )
            smoothed = self.model.clamp(seams(torch.from_numpy(smoothed)).to(self.model.device)).cpu().numpy()
            smoothed = np.where(standing.known, standing.vectors, smoothed)
        return [
            run.clip(self.line, motion, run.provenance(self.line, take))
            for take, motion in zip(self.takes, smoothed, strict=True)
        ]

    def final_frames(self) -> tuple[int, np.ndarray]:
        """Frames that are final and were not told yet: (the first of them, motion vectors (rows, n, D)).

        The head's filter reaches half its length over the end of what is there, so that many frames have to wait
        for the next window.
        """
        length = self.model.config.sampling.smooth_head
        made = np.concatenate(self.motion[-4:], axis=1)  # the filter is no longer than a window
        end = min(self.window * self.model.config.denoiser.window, self.frames)
        offset = end - made.shape[1]
        first, self.told = self.told, end if self.finished else end - length // 2
        begin = max(offset, first - 2 * length)  # where the filter begins does not reach what is told
        smoothed = smooth_head(made[:, begin - offset :], length)
        return first, smoothed[:, first - begin : self.told - begin]


class _Run:
    """What all lines of one call have in common."""

    def __init__(
        self,
        model: DiffPoseTalk,
        sampling: Sampling,
        on_progress: Callable[[int, str, int, int], None] | None,
        on_window: Callable[[int, int, int, MotionClip], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        defaults, steps = model.config.sampling, model.config.denoiser.steps
        self.model, self.sampling = model, sampling
        self.sampler = sampling.sampler or defaults.sampler
        count = sampling.steps or defaults.steps
        if self.sampler not in SAMPLERS:
            raise DiffPoseTalkError(
                f"The sampler {self.sampler!r} is none of {', '.join(SAMPLERS)}.", "settings_sampler"
            )
        if not 1 <= count <= steps:
            raise DiffPoseTalkError(f"Sampling steps range from 1 to {steps}.", "settings_steps")
        self.steps = steps if self.sampler == "ddpm" else count
        self.on_progress, self.on_window, self.cancelled = on_progress, on_window, cancelled
        self.denoiser = model.prepared_denoiser()
        self.temperature = _temperature(model)
        self.thread = ThreadPoolExecutor(1, "speech")
        self.done: dict[int, list[int]] = {}  # network evaluations of each line: done, total

    def check(self) -> None:
        """Raise `Cancelled` if that was asked for."""
        if self.cancelled and self.cancelled():
            raise Cancelled()

    def expect(self, index: int, line: Line) -> None:
        """Take a line into the count of the work."""
        _, _, windows = _extent(self.model, line)
        self.done[index] = [0, windows * self.steps * len(line.seeds)]

    def on_chunk(self, index: int) -> OnChunk:
        """Progress of listening to a line, told until its first window can begin."""

        def report(done: int, total: int) -> None:
            if self.on_progress:
                self.on_progress(index, "speech", done, total)

        return report

    @torch.inference_mode()
    def sample_window(self, parts: list[_Part]) -> None:
        """Sample the next window of each part, all in one batch; nothing is changed if that fails."""
        model, device = self.model, self.model.device
        d, defaults = model.config.denoiser, model.config.sampling
        self.check()
        before = [[g.get_state() for g in part.generators] for part in parts]
        try:
            speech = [part.current_speech(self) for part in parts]
            condition, w_a, w_s = self._condition(parts, speech)
            denoise: Denoise = GuidedDenoiser(
                self.denoiser, condition, w_a, w_s, self.sampling.threshold, self._sparse()
            )
            if defaults.join_face and defaults.join_head and any(part.goes_on() for part in parts):
                joined = _rows(parts, [float(part.goes_on()) for part in parts]).to(device)
                denoise = ContinuousDenoiser(
                    denoise, condition.previous_motion, defaults.join_face, defaults.join_head, joined
                )
            noise = _to_device(torch.cat([part.start_noise() for part in parts]), device)
            start = self.temperature * noise
            if any(part.line.standing is not None for part in parts):
                standing = [part.known() for part in parts]
                denoise = InpaintingDenoiser(
                    denoise,
                    _repeat(parts, [clean for clean, _ in standing]),
                    _repeat(parts, [mask for _, mask in standing]),
                    defaults.join_face or FACE_FRAMES,
                    defaults.join_head or HEAD_FRAMES,
                )
                start = denoise.start(noise, start, model.schedule)
            x0 = sample(
                self.sampler,
                denoise,
                start,
                model.schedule,
                self.steps,
                lambda: (
                    self.temperature * _to_device(torch.cat([part.draw_noise() for part in parts]), device)
                ),
                lambda done, total: self._on_step(parts, done, total),
            )
            motion = model.clamp(model.normalizer.denormalize(x0)).float().cpu().numpy()
        except (RuntimeError, MemoryError):
            for part, states in zip(parts, before, strict=True):
                part.speech = None  # an encoder that failed half-way does not go on
                for generator, state in zip(part.generators, states, strict=True):
                    generator.set_state(state)
                if part.window == 0:
                    part.first_noise = None
            raise
        row = 0
        for part, current in zip(parts, speech, strict=True):
            own = slice(row, row + part.rows)
            row += part.rows
            part.motion.append(motion[own, : part.real_frames])
            part.previous_motion = x0[own, -d.previous :]
            part.previous_speech = current[-d.previous :]
            part.window += 1
            self.done[part.index][0] += self.steps * part.rows
            if self.on_window and part.line.standing is None:
                first, final = part.final_frames()
                for take, frames in zip(part.takes, final, strict=True):
                    self.on_window(part.index, take, first, self.clip(part.line, frames, {"synthetic": True}))

    def _sparse(self) -> SparseBranch | None:
        """For a window to be sampled. Noise between steps would upset what is inferred from earlier ones."""
        every = self.model.config.sampling.sparse_guidance
        if every == 1 or self.sampler not in DETERMINISTIC_SAMPLERS:
            return None
        return SparseBranch(every, self.model.schedule.half_log_snr().tolist())

    def _condition(
        self, parts: list[_Part], speech: list[torch.Tensor]
    ) -> tuple[Condition, torch.Tensor, torch.Tensor]:
        """The conditions of a batch, and its rows' guidance scales."""
        model, device = self.model, self.model.device
        d = model.config.denoiser
        styled = any(part.line.style is not None for part in parts)
        styles, shapes, indicators = [], [], []
        for part in parts:
            style, shape = part.line.style, part.line.shape
            styles.append(model.null_style[0] if style is None else style.to(device))
            shapes.append(
                torch.zeros(d.shape_dim, device=device)
                if shape is None
                else model.normalizer.normalize_shape(shape.to(device))
            )
            indicators.append((torch.arange(d.window, device=device) < part.real_frames).float())
        current = [
            torch.cat([part.previous_speech, features]) for part, features in zip(parts, speech, strict=True)
        ]
        null_speech: torch.Tensor = model.null_speech
        if model.config.sampling.hears_before:
            silence = model.null_speech[0].expand(d.window, -1)
            null_speech = _repeat(parts, [torch.cat([part.previous_speech, silence]) for part in parts])
        condition = Condition(
            previous_motion=torch.cat([part.previous_motion for part in parts]),
            speech=_repeat(parts, current),
            null_speech=null_speech,
            style=_repeat(parts, styles) if styled else None,
            null_style=model.null_style,
            shape=_repeat(parts, shapes),
            indicator=_repeat(parts, indicators),
        )
        guidance = [part.guidance for part in parts]
        w_a = _rows(parts, [g.speech for g in guidance])[:, None]
        if any(g.lips != g.speech for g in guidance):
            w_a = torch.where(_mouth(model), _rows(parts, [g.lips for g in guidance])[:, None], w_a)
        # Without a style, the two scales are the same: that leaves its branch no weight.
        with_style = _rows(parts, [part.line.style is not None for part in parts])[:, None]
        w_s = torch.where(with_style, _rows(parts, [g.style for g in guidance])[:, None], w_a)
        return condition, w_a.to(device), w_s.to(device)

    def _on_step(self, parts: list[_Part], done: int, total: int) -> None:
        self.check()
        if self.on_progress:
            for index in dict.fromkeys(part.index for part in parts):
                rows = sum(part.rows for part in parts if part.index == index)
                self.on_progress(index, "motion", self.done[index][0] + done * rows, self.done[index][1])

    def clip(self, line: Line, motion: np.ndarray, provenance: dict[str, Any]) -> MotionClip:
        """Motion vectors (T, D) as a clip. Raises DiffPoseTalkError if they are not finite."""
        config = self.model.config
        exp, pose = from_vectors(motion, config.jaw_rest)
        if not self.sampling.head_pose:
            pose[:, :3] = 0
        if not (np.isfinite(exp).all() and np.isfinite(pose).all()):
            raise DiffPoseTalkError(
                "The model produced motion that is not finite. Lower the guidance scales or check the model.",
                "motion_not_finite",
            )
        shape = None if line.shape is None else line.shape.cpu().numpy()
        return MotionClip(exp, pose, config.fps, config.basis, shape, config.expression_names, provenance)

    def provenance(self, line: Line, take: int) -> dict[str, Any]:
        """Where a finished take comes from."""
        config = self.model.config
        guidance = _Guidance.of(line, config.sampling)
        scales = {"speech": guidance.speech, "style": guidance.style if line.style is not None else None}
        if guidance.lips != guidance.speech:
            scales["lips"] = guidance.lips
        return {
            "synthetic": True,
            "generator": f"DiffPoseTalk for Blender {__version__}",
            "model": config.name,
            "model_sha256": self.model.sha256,
            "seed": line.seeds[take],
            "audio_name": line.audio.name,
            "audio_sha256": line.audio.sha256,
            "style": line.style_name or ("custom" if line.style is not None else "none"),
            "guidance": scales,
            "sampler": self.sampler,
            "steps": self.steps,
            "head_pose": self.sampling.head_pose and config.head_pose,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def _repeat(parts: list[_Part], values: list[torch.Tensor]) -> torch.Tensor:
    """One value a part to one row a take, (B, …)."""
    return torch.cat([v.expand(part.rows, *v.shape) for part, v in zip(parts, values, strict=True)])


def _rows(parts: list[_Part], values: Sequence[float]) -> torch.Tensor:
    """One number a part to one a take, (B,)."""
    return torch.tensor([v for part, v in zip(parts, values, strict=True) for _ in part.takes])


@dataclass(frozen=True)
class _Guidance:
    """Scales of equation 10 for a line: of the speech, of the lips and the jaw towards it, and of the style."""

    speech: float
    lips: float
    style: float

    @staticmethod
    def of(line: Line, defaults: SamplingConfig) -> _Guidance:
        """What a person asked for, else the model's own: more for the lips where noise blurs the speech."""
        speech, style = line.speech_guidance, line.style_guidance
        style = defaults.style_guidance if style is None else style
        if speech is not None:
            return _Guidance(speech, speech, style)
        noisy = defaults.noisy_lips_guidance > 0 and is_noisy(line.audio.samples)
        lips = defaults.noisy_lips_guidance if noisy else defaults.speech_guidance
        return _Guidance(defaults.speech_guidance, lips, style)


def _mouth(model: DiffPoseTalk) -> torch.Tensor:
    """Mask (D,) of the channels that speech moves above all."""
    config = model.config
    return torch.from_numpy(channels_of(MOUTH[config.basis], config.basis, config.denoiser.motion_dim))


def _temperature(model: DiffPoseTalk) -> torch.Tensor:
    """Scale (D,) of the noise that each channel is made from."""
    scale = torch.ones(model.config.denoiser.motion_dim)
    scale[_mouth(model)] = model.config.sampling.lips_temperature
    return scale.to(model.device)


def _to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy that a GPU fetches while the program goes on."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def _extent(model: DiffPoseTalk, line: Line) -> tuple[int, int, int]:
    """Frames of a line, where its first window begins, and how many windows it has."""
    d = model.config.denoiser
    if line.standing is None:
        frames = max(1, line.audio.frames)
        return frames, 0, math.ceil(frames / d.window)
    frames = len(line.standing.vectors)
    return frames, *place_windows(*line.standing.span(), frames, d.window, d.previous)


def smooth_head(motion: np.ndarray, frames: int) -> np.ndarray:
    """Savitzky-Golay filter over the head rotation of motion vectors (B, T, D), as the paper's data is filtered."""
    if not frames or motion.shape[1] < frames or motion.shape[2] == EXPRESSION_DIM + 1:
        return motion
    head = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)
    out = motion.copy()
    out[..., head] = savitzky_golay_filter(motion[..., head], frames, 2, axis=1)
    return out


def _check_line(line: Line) -> None:
    if not line.seeds or not all(0 <= seed < 2**63 for seed in line.seeds):
        raise DiffPoseTalkError("Give at least one seed, each from 0 to 2^63 - 1.", "settings_seed")
    if not all(w is None or 0 <= w <= GUIDANCE_LIMIT for w in (line.speech_guidance, line.style_guidance)):
        raise DiffPoseTalkError(f"Guidance scales range from 0 to {GUIDANCE_LIMIT:g}.", "settings_guidance")
