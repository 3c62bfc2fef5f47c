# SPDX-License-Identifier: GPL-3.0-or-later
"""A window of each of several courses: conditioned, guided and sampled in one batch (paper section 3.3.3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch

from ..config import DETERMINISTIC_SAMPLERS
from ..diffusion.continuity import ContinuousDenoiser
from ..diffusion.guidance import GuidedDenoiser, SparseBranch
from ..diffusion.inpainting import FACE_FRAMES, HEAD_FRAMES, InpaintingDenoiser
from ..diffusion.samplers import Denoise, sample
from ..errors import Cancelled
from ..motion.clip import MotionClip
from ..networks.model import DiffPoseTalk
from .conditioning import condition, mouth, number_rows, tensor_rows
from .course import Course
from .take import motion_clip


class WindowSampler:
    """Samples the windows of many courses, all of one solver at a time, and tells how far each line is."""

    def __init__(
        self,
        model: DiffPoseTalk,
        on_progress: Callable[[int, str, int, int], None] | None,
        on_window: Callable[[int, int, int, MotionClip], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.model = model
        self.on_progress, self.on_window, self.cancelled = on_progress, on_window, cancelled
        self.denoiser = model.prepared_denoiser()
        scale = torch.ones(model.config.denoiser.motion_dim)
        scale[mouth(model)] = model.config.sampling.lips_temperature
        self.temperature = scale.to(model.device)  # (D,), scale of the noise that each channel is made from
        self.thread = ThreadPoolExecutor(1, "speech")
        self.done: dict[int, list[int]] = {}  # network evaluations of each line: done, total

    def check(self) -> None:
        """Raise `Cancelled` if that was asked for."""
        if self.cancelled and self.cancelled():
            raise Cancelled()

    def expect(self, course: Course) -> None:
        """Take a course into the count of its line's work."""
        counted = self.done.setdefault(course.index, [0, 0])
        counted[1] += course.windows * course.solver.steps * course.rows

    @torch.inference_mode()
    def sample_window(self, courses: list[Course]) -> None:
        """Sample the next window of each course, all in one batch; nothing is changed if that fails."""
        self.check()
        before = [[g.get_state() for g in course.generators] for course in courses]
        try:
            speech = [
                course.current_speech(self.thread, partial(self._on_chunk, course.index), self.check)
                for course in courses
            ]
            x0 = self._sampled(courses, speech)
            motion = self.model.clamp(self.model.normalizer.denormalize(x0)).float().cpu().numpy()
        except (RuntimeError, MemoryError):
            for course, states in zip(courses, before, strict=True):
                course.speech = None  # an encoder that failed half-way does not go on
                for generator, state in zip(course.generators, states, strict=True):
                    generator.set_state(state)
                if course.window == 0:
                    course.first_noise = None
            raise
        previous = self.model.config.denoiser.previous
        row = 0
        for course, current in zip(courses, speech, strict=True):
            own = slice(row, row + course.rows)
            row += course.rows
            course.motion.append(motion[own, : course.real_frames])
            course.previous_motion = x0[own, -previous:]
            course.previous_speech = current[-previous:]
            course.window += 1
            self.done[course.index][0] += course.solver.steps * course.rows
            if self.on_window and course.line.standing is None:
                first, final = course.final_frames()
                for take, frames in zip(course.takes, final, strict=True):
                    clip = motion_clip(self.model, course.line, frames, {"synthetic": True})
                    self.on_window(course.index, take, first, clip)

    def _sampled(self, courses: list[Course], speech: list[torch.Tensor]) -> torch.Tensor:
        """Normalised motion (B, T_w, D) of the courses' next windows."""
        model, device, solver = self.model, self.model.device, courses[0].solver
        defaults = model.config.sampling
        conditions, w_a, w_s = condition(model, courses, speech)
        denoise: Denoise = GuidedDenoiser(
            self.denoiser, conditions, w_a, w_s, solver.threshold, self._sparse(solver.sampler)
        )
        if defaults.join_face and defaults.join_head and any(course.goes_on() for course in courses):
            joined = number_rows(courses, [float(course.goes_on()) for course in courses]).to(device)
            denoise = ContinuousDenoiser(
                denoise, conditions.previous_motion, defaults.join_face, defaults.join_head, joined
            )
        noise = _to_device(torch.cat([course.start_noise() for course in courses]), device)
        start = self.temperature * noise
        if any(course.line.standing is not None for course in courses):
            standing = [course.known() for course in courses]
            denoise = InpaintingDenoiser(
                denoise,
                tensor_rows(courses, [clean for clean, _ in standing]),
                tensor_rows(courses, [mask for _, mask in standing]),
                defaults.join_face or FACE_FRAMES,
                defaults.join_head or HEAD_FRAMES,
            )
            start = denoise.start(noise, start, model.schedule)

        def fresh_noise() -> torch.Tensor:
            return self.temperature * _to_device(
                torch.cat([course.draw_noise() for course in courses]), device
            )

        on_step = partial(self._on_step, courses)
        return sample(solver.sampler, denoise, start, model.schedule, solver.steps, fresh_noise, on_step)

    def _sparse(self, sampler: str) -> SparseBranch | None:
        """For a window to be sampled. Noise between steps would upset what is inferred from earlier ones."""
        every = self.model.config.sampling.sparse_guidance
        if every == 1 or sampler not in DETERMINISTIC_SAMPLERS:
            return None
        return SparseBranch(every, self.model.schedule.half_log_snr().tolist())

    def _on_chunk(self, index: int, done: int, total: int) -> None:
        if self.on_progress:
            self.on_progress(index, "speech", done, total)

    def _on_step(self, courses: list[Course], done: int, total: int) -> None:
        self.check()
        if self.on_progress:
            for index in dict.fromkeys(course.index for course in courses):
                rows = sum(course.rows for course in courses if course.index == index)
                self.on_progress(index, "motion", self.done[index][0] + done * rows, self.done[index][1])


def _to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy that a GPU fetches while the program goes on."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
