# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a linear probe reads phones from each layer of a speech encoder, and how fast the encoder is.

Used to choose the bundled model's speech encoder and the layers it reads. Speakers of the test part are not
in the training part.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..config import FPS, SpeechEncoderConfig
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..networks.speech.whisper import WhisperSpeechEncoder
from ..sound.audio import SAMPLE_RATE
from ..train.whisper_weights import load_whisper_encoder
from .ctranslate2_weights import read_whisper_encoder


def frame_phones(phones: list[list], frames: int) -> list[str]:
    """The phone spoken at the middle of each motion frame; `phones` rows are [word, phone, start, end]."""
    out = ["SIL"] * frames
    for _, phone, start, end in phones:
        for frame in range(int(np.ceil(start * FPS - 0.5)), min(frames, int(np.ceil(end * FPS - 0.5)))):
            if frame >= 0:
                out[frame] = phone
    return out


def probe(encoder: WhisperSpeechEncoder, corpus: Path, clips: int = 300, seed: int = 0) -> dict[str, float]:
    """Frame accuracy of a linear phone classifier on speakers never seen, per layer, and the real-time factor.

    Args:
        corpus: folder with `index.json` (rows id, speaker, phones) and `ID.flac`.
    """
    rows = json.loads((corpus / "index.json").read_text())
    rows = [r for r in rows if r.get("phones")][:clips]
    speakers = sorted({r["speaker"] for r in rows})
    test_speakers = set(speakers[::4])
    parts: dict[bool, list] = {True: [], False: []}
    spent = heard = 0.0
    for row in rows:
        sound, rate = soundfile.read(corpus / f"{row['id']}.flac", dtype="float32")
        assert rate == SAMPLE_RATE
        frames = int(len(sound) / rate * FPS)
        began = time.perf_counter()
        with torch.no_grad():
            mel = encoder.log_mel(torch.from_numpy(sound[None, : frames * SAMPLES_PER_FRAME]))
            states = encoder.encoder(mel)
        spent += time.perf_counter() - began
        heard += frames / FPS
        layers = torch.stack([s[0, : 2 * frames].unflatten(0, (frames, 2)).flatten(1) for s in states])
        parts[row["speaker"] in test_speakers].append((layers, frame_phones(row["phones"], frames)))
    labels = sorted({p for part in parts.values() for _, phones in part for p in phones})
    index = {p: i for i, p in enumerate(labels)}
    out: dict[str, float] = {}
    for layer in range(len(states)):
        x = {k: torch.cat([a[layer] for a, _ in part]) for k, part in parts.items()}
        y = {k: torch.tensor([index[p] for _, ph in part for p in ph]) for k, part in parts.items()}
        mean, std = x[False].mean(0), x[False].std(0) + 1e-5
        torch.manual_seed(seed)
        model = torch.nn.Linear(x[False].shape[1], len(labels))
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
        train_x = (x[False] - mean) / std
        for _ in range(8):
            for batch in torch.randperm(len(train_x)).split(512):
                loss = torch.nn.functional.cross_entropy(model(train_x[batch]), y[False][batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            hit = (model((x[True] - mean) / std).argmax(1) == y[True]).float()
        out[f"layer {layer}"] = hit.mean().item()
    out["real-time factor"] = spent / heard
    return out


def main(weights: str, corpus: str) -> None:
    """Print the probe's table for OpenAI's checkpoint (`.pt`) or a CTranslate2 model (`.bin`) of Whisper."""
    state = read_whisper_encoder(weights) if weights.endswith(".bin") else load_whisper_encoder(weights)[1]
    width = state["conv1.weight"].shape[0]
    depth = sum(name.endswith("fc1.weight") for name in state)
    config = SpeechEncoderConfig(width=width, depth=depth, heads=width // 64, layers=(depth,))
    encoder = WhisperSpeechEncoder(config)
    encoder.encoder.load_state_dict(state)
    print(f"{width} wide, {depth} layers")
    for key, value in probe(encoder.eval(), Path(corpus)).items():
        print(f"  {key}: {value:.4f}")


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:3])
