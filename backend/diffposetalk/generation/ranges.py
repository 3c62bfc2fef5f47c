# SPDX-License-Identifier: GPL-3.0-or-later
"""Generating a range of a take again, joined to what stands around it, with groups of channels held.

What is outside the range, and what is held, comes back bit for bit. The windows are laid around the range, wherever
it is, and hear the recording from some seconds before it on; how the rest is imposed is in `inpainting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from ..config import EXPRESSION_DIM, from_fields
from ..diffusion.inpainting import FACE_FRAMES, HEAD_FRAMES, Seams, Standing
from ..errors import DiffPoseTalkError, MotionError, refusing
from ..motion.channel_groups import channels_of
from ..motion.clip import MotionClip, from_vectors, to_vectors
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..sound.audio import SAMPLE_RATE, SpeechAudio
from .batching import OnProgress, generate_lines
from .line import Line
from .options import GenerationOptions

Convert = Callable[[MotionClip], MotionClip]

HEARD_FRAMES = 400
"""Motion frames (16 s) of the recording that are heard before and after the range: beyond what encoders attend to."""
HEARD_GRID = 200
"""Cuts of the recording fall on multiples of this, as Whisper's chunks do, so that it hears what it heard before."""


@dataclass(frozen=True)
class Hold:
    """Channels that stay as they are inside the range.

    Attributes:
        groups: names of `channel_groups.channel_groups`.
        start, stop: frames of the clip, `stop` exclusive; None is the range's own.
    """

    groups: tuple[str, ...] | list[str]
    start: int | None = None
    stop: int | None = None


def parse_holds(data: Any) -> list[Hold]:
    """Holds as they travel in JSON: `[{"groups": ["brows"], "start": 10, "stop": 20}, …]`, frames optional.

    Raises:
        DiffPoseTalkError: kind regenerate_hold; anything else.
    """
    wanted = "What is to be held is a list of {“groups”: […], “start”: frame, “stop”: frame}."
    with refusing(DiffPoseTalkError(wanted, "regenerate_hold"), TypeError, ValueError, AttributeError):
        return [from_fields(Hold, entry) for entry in data]


def known_motion(
    clip: MotionClip, start: int, stop: int, holds: Sequence[Hold], motion_dim: int
) -> np.ndarray:
    """Mask (T, motion_dim) of what stands: all but the range, and in it what is held.

    Raises:
        DiffPoseTalkError: kind regenerate_range; the range is empty or outside the clip. Kind regenerate_hold; no
            such group, or nothing is left to be generated.
    """
    frames = len(clip)
    if not 0 <= start < stop <= frames:
        raise DiffPoseTalkError(
            f"Frames {start} to {stop} are no range of this take, which has frames 0 to {frames}.",
            "regenerate_range",
        )
    known = np.ones((frames, motion_dim), bool)
    known[start:stop] = False
    for hold in holds:
        first = start if hold.start is None else max(0, hold.start)
        last = stop if hold.stop is None else max(0, hold.stop)
        known[first:last, channels_of(hold.groups, clip.basis, motion_dim)] = True
    if known.all():
        raise DiffPoseTalkError(
            "Everything in the range is held: nothing is left to generate.", "regenerate_hold"
        )
    return known


def regenerate(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    clip: MotionClip,
    start: int,
    stop: int,
    options: GenerationOptions | None = None,
    *,
    holds: Sequence[Hold] = (),
    style: torch.Tensor | None = None,
    style_name: str = "",
    shape: torch.Tensor | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] | None = None,
    conversions: tuple[Convert, Convert] | None = None,
    **changes: Any,
) -> list[MotionClip]:
    """Generate frames `start` to `stop` (exclusive) of a take again, one clip per seed.

    Args:
        audio: the recording that the take was made from; frame 0 of the clip is its beginning.
        clip: the take as it stands, hand-made keys included, in the model's basis and at its rate.
        holds: channels that stay as they are, in groups of the clip's basis.
        conversions: of a clip in another basis: from that to the model's, and back. Of its face the model then sees
            as held only the frames in which all of it is, since bases mix the channels; what comes back is exact
            where it is to stand all the same, and what the way there and back loses is faded out beside it.
        others: as of `batching.generate`.

    Returns:
        Whole clips, equal to `clip` bit for bit but for what was generated.

    Raises:
        MotionError: kinds motion_basis, motion_fps; the clip does not go with the model.
        DiffPoseTalkError: kinds regenerate_range, regenerate_hold, and those of `generate`.
    """
    config = model.config
    d = config.denoiser
    if conversions is None and clip.basis != config.basis:
        raise MotionError(
            f"The take is in the {clip.basis} basis, the model speaks {config.basis}. Give the heads that they are "
            "for, to convert between them.",
            "motion_basis",
        )
    if abs(clip.fps - config.fps) > 1e-3:
        raise MotionError(
            f"The take has {clip.fps:g} frames a second; {config.fps:g} are needed to generate a part of it again.",
            "motion_fps",
        )
    known = known_motion(clip, start, stop, holds, d.motion_dim)
    if start >= max(1, audio.frames):
        raise DiffPoseTalkError(
            f"The range begins at frame {start}, but the recording ends at frame {audio.frames}.",
            "regenerate_range",
        )
    # Of a long take only the surroundings go through the model.
    low = max(0, start - d.window - HEARD_FRAMES) // HEARD_GRID * HEARD_GRID
    high = min(len(clip), -(-(stop + d.window + HEARD_FRAMES) // HEARD_GRID) * HEARD_GRID)
    around = replace(clip, exp=clip.exp[low:high], pose=clip.pose[low:high], translation=None)
    seen = known[low:high]
    if conversions is not None:
        around, seen = conversions[0](around), _mixed(seen)
    begin, end = low * SAMPLES_PER_FRAME, high * SAMPLES_PER_FRAME
    seconds = max(0.0, min(audio.seconds, end / SAMPLE_RATE) - begin / SAMPLE_RATE)
    line = Line(
        replace(audio, samples=audio.samples[begin:end], seconds=seconds),
        replace(options or GenerationOptions(), **changes),
        style,
        style_name,
        shape,
        Standing(to_vectors(around, d.motion_dim), seen),
    )
    results = generate_lines(
        model,
        [line],
        on_progress=None if on_progress is None else lambda _, *progress: on_progress(*progress),
        cancelled=cancelled,
    )
    [(_, parts)] = results
    if conversions is not None:
        parts = [_bent(clip, conversions[1](part), low, known) for part in parts]
    held = sorted({group for hold in holds for group in hold.groups})
    return [_joined(clip, part, low, known, {"start": start, "stop": stop, "held": held}) for part in parts]


def _mixed(known: np.ndarray) -> np.ndarray:
    """What stands (T, D) in another basis: the head as it is, the face where all of its channels stand."""
    head = np.zeros(known.shape[1], bool)
    head[EXPRESSION_DIM:-1] = True
    return np.where(head, known, known[:, ~head].all(axis=1, keepdims=True))


def _bent(clip: MotionClip, part: MotionClip, low: int, known: np.ndarray) -> MotionClip:
    """A converted part that continues the clip where that stands."""
    here = slice(low, low + len(part))
    dim = known.shape[1]
    clean, generated = (torch.from_numpy(to_vectors(c, dim))[None] for c in (clip, part))
    seams = Seams(clean[:, here], torch.from_numpy(known[here])[None], FACE_FRAMES, HEAD_FRAMES)
    exp, pose = from_vectors(seams(generated)[0].numpy())
    if clip.basis == "arkit":
        exp = exp.clip(0, 1)
    return replace(part, exp=exp, pose=pose)


def _joined(
    clip: MotionClip, part: MotionClip, low: int, known: np.ndarray, what: dict[str, Any]
) -> MotionClip:
    """The clip with what is not known taken from `part`, which begins at frame `low`."""
    exp, pose = clip.exp.astype(np.float32), clip.pose.astype(np.float32)
    new_exp, new_pose = exp.copy(), pose.copy()
    new_exp[low : low + len(part)], new_pose[low : low + len(part)] = part.exp, part.pose
    known_exp, known_pose = (mask > 0 for mask in from_vectors(known.astype(np.float32), (1.0, 1.0)))
    if known.shape[1] != EXPRESSION_DIM + 4:
        known_pose[:, :3] = True
    exp, pose = np.where(known_exp, exp, new_exp), np.where(known_pose, pose, new_pose)
    keys = ("generator", "model", "model_sha256", "seed", "audio_name", "audio_sha256", "style", "guidance")
    entry = {key: part.provenance[key] for key in (*keys, "sampler", "steps") if key in part.provenance}
    entry |= what | {"created": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    earlier = clip.provenance.get("regenerated")
    provenance = {
        **clip.provenance,
        "synthetic": True,
        "regenerated": [*(earlier if isinstance(earlier, list) else []), entry],
    }
    return replace(clip, exp=exp, pose=pose, provenance=provenance)
