# SPDX-License-Identifier: GPL-3.0-or-later
"""Saying what is being done."""

from __future__ import annotations

import time


class Stages:
    """Announces the stages of a long command and says how long each took."""

    def __call__(self, name: str) -> Stages:
        self.name = name
        return self

    def __enter__(self) -> None:
        print(f"== {self.name}", flush=True)
        self.began = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            print(f"== {self.name}: {time.monotonic() - self.began:.1f} s", flush=True)
