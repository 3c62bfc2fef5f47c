# SPDX-License-Identifier: GPL-3.0-or-later
"""A teacher that turns phone timings into lip motion, learned from a tracked speaker.

Phones carry no voice, so what it learns from one speaker labels recordings of any other: that is how voices
without tracked motion enter the training of the bundled model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...config import FPS
from ...motion.arkit import INDEX, MOUTH, both
from ...phones import BILABIALS, OPEN_VOWELS, Phone
from ...tracking.lip_gap import LipGap

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
STOPS = ("B", "CH", "D", "G", "JH", "K", "P", "T")
FRICATIVES = ("DH", "F", "HH", "S", "SH", "TH", "V", "Z", "ZH")
SONORANTS = ("L", "M", "N", "NG", "R", "W", "Y")
PHONES = ["SIL", *sorted((*VOWELS, *STOPS, *FRICATIVES, *SONORANTS))]
CHANNELS = (*MOUTH, 53)
CONTEXT_PHONES = {"ER": "R", "NG": "N", "OY": "OW", "SH": "CH", "UH": "UW", "ZH": "JH"}
"""Phones that the tracked speaker's small vocabulary lacks, learned as their nearest articulation."""


def phone_features(phones: list[Phone], frames: int) -> np.ndarray:
    """Share of each frame that each phone fills, (frames, len(PHONES)); unknown phones count as silence."""
    out = np.zeros((frames, len(PHONES)), np.float32)
    for phone, start, end in phones:
        phone = CONTEXT_PHONES.get(phone, phone)
        column = PHONES.index(phone) if phone in PHONES else 0
        a, b = start * FPS, end * FPS
        for frame in range(max(0, int(a)), min(frames, int(np.ceil(b)))):
            out[frame, column] += max(0.0, min(b, frame + 1) - max(a, frame))
    out[:, 0] += np.clip(1 - out.sum(axis=1), 0, 1)
    return out


class PhoneTeacher(nn.Module):
    """Three temporal convolutions over phone features, about half a second of context on either side."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = len(PHONES)
        for kernel in (9, 7, 5):
            layers += [nn.Conv1d(size, width, kernel, padding=kernel // 2), nn.GELU(), nn.Dropout(0.1)]
            size = width
        self.net = nn.Sequential(*layers, nn.Conv1d(width, len(CHANNELS), 1))

    def forward(self, phones: torch.Tensor) -> torch.Tensor:
        """(B, T, len(PHONES)) to (B, T, len(CHANNELS)) in units of the channels' standard deviations."""
        return self.net(phones.transpose(1, 2)).transpose(1, 2)


def train_teacher(
    pairs: list[tuple[np.ndarray, np.ndarray]], epochs: int = 60, seed: int = 0
) -> tuple[PhoneTeacher, np.ndarray]:
    """Fit the teacher to (phone features, motion (T, 54)) pairs.

    Returns:
        The teacher and the channels' standard deviations.
    """
    torch.manual_seed(seed)
    scale = np.concatenate([m[:, CHANNELS] for _, m in pairs]).std(axis=0) + 1e-3
    teacher = PhoneTeacher()
    optimizer = torch.optim.AdamW(teacher.parameters(), 2e-3, weight_decay=1e-3)
    rng = np.random.default_rng(seed)
    total = epochs * (len(pairs) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=total)
    for _ in range(epochs):
        order = rng.permutation(len(pairs))
        for k in range(len(pairs) // 32):
            picked = [pairs[i] for i in order[32 * k : 32 * k + 32]]
            frames = min(len(m) for _, m in picked)
            x = torch.from_numpy(np.stack([p[:frames] for p, _ in picked]))
            y = torch.from_numpy(np.stack([m[:frames, CHANNELS] / scale for _, m in picked])).float()
            out = teacher(x)
            velocity = (out.diff(dim=1) - y.diff(dim=1)).square().mean()
            loss = (out - y).square().mean() + 2 * velocity
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return teacher.eval(), scale


@torch.no_grad()
def label(
    teacher: PhoneTeacher, scale: np.ndarray, phones: list[Phone], frames: int, gap: LipGap
) -> tuple[np.ndarray, np.ndarray]:
    """Lip motion from phones: (T, 50) coefficients of the mouth and (T,) jaw pitch, `articulate`d."""
    out = teacher(torch.from_numpy(phone_features(phones, frames))[None])[0].numpy() * scale
    exp = np.zeros((frames, 50), np.float32)
    exp[:, MOUTH] = np.clip(out[:, :-1], 0, 1)
    return articulate(exp, np.clip(out[:, -1], 0, None), phones, gap, openings=True)


def articulate(
    exp: np.ndarray, jaw: np.ndarray, phones: list[Phone], gap: LipGap, openings: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the lips together on every P, B and M and, with `openings`, part them on every open vowel.

    What a tracker misses between two frames, or an average over contexts blurs, people can see: a bilabial with
    parted lips looks wrong, and so does an open vowel behind closed ones.

    Args:
        exp, jaw: (T, 50) and (T,), motion of the mouth.
    """
    frames = len(exp)
    may_part = closure_envelope(phones, frames)
    wanted = np.clip(gap.of(exp, jaw), 0, None)
    if openings:
        wanted = np.maximum(wanted, opening_floor(phones, frames) * np.percentile(wanted, 95))
    exp, jaw = gap.reach(exp, jaw, wanted * may_part)
    pressed = 1 - closure_envelope(phones, frames, 0.03)
    exp[:, both("mouthPress")] = np.maximum(exp[:, both("mouthPress")], 0.25 * pressed[:, None])
    exp[:, INDEX["mouthRollUpper"]] = np.maximum(exp[:, INDEX["mouthRollUpper"]], 0.1 * pressed)
    return exp, jaw


def opening_floor(phones: list[Phone], frames: int) -> np.ndarray:
    """Least share of the clip's wide opening on open vowels, falling off over a frame or two on either side; (frames,).

    A vowel that is reduced to a few hundredths of a second opens less than a full one.
    """
    time = (np.arange(frames) + 0.5) / FPS
    out = np.zeros(frames)
    for phone, start, end in phones:
        if phone in OPEN_VOWELS:
            least = 0.54 if phone == "AH" else 0.62
            distance = np.abs(time - 0.5 * (start + end)) - 0.25 * (end - start)
            out = np.maximum(out, least * np.clip(1.35 - np.clip(distance, 0, None) / 0.06, 0, 1))
    return out


def closure_envelope(phones: list[Phone], frames: int, ease: float = 0.06) -> np.ndarray:
    """1 where lips may part, 0 while a bilabial holds them closed, eased over `ease` seconds; (frames,)."""
    time = (np.arange(frames) + 0.5) / FPS
    out = np.ones(frames)
    for phone, start, end in phones:
        if phone in BILABIALS:
            # A stop's closure fills most of its span and is over with the burst at its end.
            release = start + 0.7 * (end - start) if phone != "M" else end - 0.01
            middle = 0.5 * (start + release)
            half = max(0.5 * (release - start), 0.021)
            distance = np.clip(np.abs(time - middle) - half, 0, None)
            out = np.minimum(out, np.clip(distance / ease, 0, 1))
    return out
