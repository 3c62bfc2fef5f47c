# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user names a style by, in the words of command lines and manifests or the data of the protocol."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..config import STYLE_WORDS
from ..errors import StyleError
from ..networks.model import DiffPoseTalk
from ..tracking.video import is_video
from .library import find_style, library_folder, named_after
from .reading import Window, chosen_window, read_style, reference_motion
from .style_file import (
    SUFFIX,
    Style,
    load_style,
    mixture,
    style_of_preset,
    style_of_reading,
    style_of_vector,
    vector_for,
)

Kind = Literal["preset", "motion", "vector", "file", "library", "mix"]

NONE = "none"
"""The word for no style: the model speaks as the mean of its training data."""
MAX_DEPTH = 4
"""Mixtures of mixtures."""
_KINDS: tuple[Kind | Literal["word"], ...] = ("word", "preset", "motion", "vector", "file", "library", "mix")
_AMOUNT = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*%?\s+(?P<word>\S.*)")
_WINDOW = re.compile(r"(?P<file>.+)@(?P<window>auto|mean|\d+)")


@dataclass(frozen=True)
class StyleRequest:
    """A style that was asked for, not yet looked up.

    Attributes:
        kind: what `source` is: a name (`preset`: of the model, or else of the library), a path, or nothing (`mix`).
        window: which four seconds of a motion file or video, as of `read_style`.
        heads: head assets `motion` and `model`, to convert a motion of another basis between.
        folder: the library's, None for the user's own.
        parts, amounts: of a mixture.
    """

    kind: Kind
    source: str = ""
    window: Window = "auto"
    heads: dict[str, str] | None = None
    folder: str | None = None
    parts: tuple[StyleRequest, ...] = ()
    amounts: tuple[float, ...] = ()

    @classmethod
    def parse(
        cls,
        given: object,
        *,
        near: Path = Path(),
        start_frame: int | None = None,
        folder: str | None = None,
        depth: int = MAX_DEPTH,
    ) -> StyleRequest:
        """What was asked for.

        Args:
            given: a word (`STYLE_WORDS` says which there are), or as the protocol has it one of
                `{"preset": name}`, of the model or else of the library;
                `{"motion": path, "start_frame": n}` or `{…, "window": "auto" | "mean"}`, a motion file of any kind or
                a video, and where its basis is not the model's, `"heads": {"motion": path, "model": path}`;
                `{"vector": path}`, a `.npy`;
                `{"file": path}`, a style file;
                `{"library": name}`; names are looked up in the folder `"folder"` where that is given;
                `{"mix": [style, …], "amounts": [a, …]}`;
                `{"word": word}`.
            near: where relative paths of a word start.
            start_frame: of the motion files in a word that does not say it itself.
            folder: the library's, for names in a word.

        Raises:
            StyleError: `style_format`, `style_mix`; it is none of these.
        """
        if isinstance(given, str) and given.strip() and "\0" not in given:
            return cls._of_word(given.strip(), near, start_frame, folder)
        kind = next((kind for kind in _KINDS if isinstance(given, dict) and kind in given), None)
        if not isinstance(given, dict) or kind is None or (kind == "mix" and depth == 0):
            raise StyleError(f"A style is {STYLE_WORDS}.", "style_format")
        place, heads = given.get("folder"), given.get("heads") or {}
        if not isinstance(place, str | None) or not isinstance(heads, dict):
            raise StyleError("A style's folder is a path, its heads are two named paths.", "style_format")
        if kind == "mix":
            parts, amounts = given["mix"], given.get("amounts")
            if not isinstance(parts, list) or not isinstance(amounts, list) or None in parts:
                raise StyleError("A mixture is a list of styles and a list of amounts.", "style_mix")
            if not all(isinstance(amount, int | float) for amount in amounts) or len(parts) != len(amounts):
                raise StyleError("A mixture needs an amount, a number, for each of its styles.", "style_mix")
            of = tuple(cls.parse(part, depth=depth - 1) for part in parts)
            return cls("mix", parts=of, amounts=tuple(map(float, amounts)))
        if kind == "word":
            return cls.parse(str(given["word"]), start_frame=given.get("start_frame"), folder=place)
        window = chosen_window(given.get("start_frame"), given.get("window", "auto"))
        return cls(kind, str(given[kind]), window, heads or None, place)

    @classmethod
    def _of_word(cls, word: str, near: Path, start_frame: int | None, folder: str | None) -> StyleRequest:
        parts = [_AMOUNT.fullmatch(part) for part in re.split(r"\s\+\s+", word)]
        if len(parts) > 1 and (mixed := [part for part in parts if part]) and len(mixed) == len(parts):
            of = tuple(cls._of_word(part["word"], near, start_frame, folder) for part in mixed)
            return cls("mix", parts=of, amounts=tuple(float(part["amount"]) for part in mixed))
        if word.startswith("library:"):
            return cls("library", word.removeprefix("library:").strip(), folder=folder)
        window: Window = "auto" if start_frame is None else start_frame
        if (match := _WINDOW.fullmatch(word)) and _kind(match["file"]) == "motion":
            word, chosen = match["file"], match["window"]
            window = int(chosen) if chosen.isdecimal() else chosen_window(None, chosen)
        kind = _kind(word)
        if kind is None:
            return cls("preset", word, folder=folder)
        return cls(kind, str(near / os.path.expanduser(word)), window if kind == "motion" else "auto")

    def to_params(self) -> dict[str, Any]:
        """As the protocol has it; `parse` is its inverse."""
        if self.kind == "mix":
            return {"mix": [part.to_params() for part in self.parts], "amounts": list(self.amounts)}
        window = {"start_frame" if isinstance(self.window, int) else "window": self.window}
        return {
            self.kind: self.source,
            **({} if self.window == "auto" else window),
            **({"heads": self.heads} if self.heads else {}),
            **({"folder": self.folder} if self.folder else {}),
        }

    @property
    def name(self) -> str:
        """What the provenance of a motion calls it; no folders, which are private."""
        if self.kind == "mix":
            pairs = zip(self.parts, self.amounts, strict=True)
            return " + ".join(f"{part.name} {amount:.2f}" for part, amount in pairs)
        if self.kind in ("preset", "library"):
            return self.source
        return Path(self.source).stem if self.kind == "file" else Path(self.source).name

    def located(self, model: DiffPoseTalk) -> StyleRequest:
        """The same with every name looked up: what is left are presets of the model, `none`, and paths.

        Raises:
            StyleError: `style_preset`, `style_missing`; there is no style of that name. `style_library`.
        """
        if self.kind == "mix":
            return replace(self, parts=tuple(part.located(model) for part in self.parts))
        if self.kind not in ("preset", "library"):
            return self
        if self.kind == "preset" and self.source in (NONE, *model.styles):
            return self
        try:
            return StyleRequest("file", str(find_style(library_folder(self.folder), self.source)))
        except StyleError:
            if self.kind == "library":
                raise
            wanted = self.source.casefold()
            for key, preset in model.styles.items():
                if wanted in (key.casefold(), preset.name.casefold()):
                    return replace(self, source=key)
        raise StyleError(
            f"There is no style preset “{self.source}”, nor a style of your library. Presets: "
            f"{', '.join(model.styles) or 'none'}. A style is {STYLE_WORDS}.",
            "style_preset",
        )

    def style(self, model: DiffPoseTalk) -> Style | None:
        """The style, read where it must be; None for `none`.

        Raises:
            StyleError: an unknown preset or style, or a reference that cannot be used. MotionError, VideoError: a
            file that cannot be read or shows no face.
        """
        located = self.located(model)
        if located.kind == "mix":
            styles = [style for part in located.parts if (style := part.style(model)) is not None]
            if len(styles) < len(located.parts):
                raise StyleError(f"“{NONE}” is no style to mix.", "style_mix")
            return mixture(model, self.name, styles, list(located.amounts))
        if located.kind == "preset":
            return None if located.source == NONE else style_of_preset(model, located.source)
        if located.kind == "file":
            return load_style(located.source)
        if located.kind == "vector":
            return style_of_vector(model, named_after(located.source), located.source)
        reading = read_style(model, reference_motion(model, located.source, located.heads), located.window)
        path = Path(located.source)
        source = {"kind": "video" if is_video(path) else "motion", "file": path.name}
        return style_of_reading(model, named_after(path), reading, source)

    def resolve(self, model: DiffPoseTalk) -> torch.Tensor | None:
        """Its vector (S,) for this model; None for `none`. Raises as `style` and `vector_for`."""
        if self.kind == "preset" and self.source in model.styles:
            return model.styles[self.source].vector.to(model.device)
        style = self.style(model)
        return None if style is None else vector_for(model, style)

    def content(self, model: DiffPoseTalk, hash_of: Callable[[str], str]) -> Any:
        """JSON-ready data that stays while the style does: names and paths give way to the hashes of what they hold.

        Args:
            hash_of: hash of a file. Raises StyleError as `located`, and what `hash_of` raises.
        """
        located = self.located(model)
        if located.kind == "mix":
            return ["mix", [part.content(model, hash_of) for part in located.parts], list(located.amounts)]
        if located.kind != "preset":
            heads = {name: hash_of(path) for name, path in (located.heads or {}).items()}
            return replace(located, source=hash_of(located.source), heads=heads or None).to_params()
        if located.source == NONE:
            return [NONE]
        vector = model.styles[located.source].vector.cpu().numpy()
        return ["preset", hashlib.sha256(vector.tobytes()).hexdigest()]


def resolve_style(model: DiffPoseTalk, asked: object) -> torch.Tensor | None:
    """The style vector (S,) of what was asked for, as of `StyleRequest.parse`; None stays None.

    Raises:
        StyleError: an unknown preset or style, or a reference that cannot be used.
        MotionError, VideoError: a file that cannot be read.
    """
    return None if asked is None else StyleRequest.parse(asked).resolve(model)


def style_name(asked: object) -> str:
    """What the provenance of a motion calls the style asked for; empty for None."""
    return "" if asked is None else StyleRequest.parse(asked).name


def _kind(word: str) -> Literal["motion", "vector", "file"] | None:
    """Which kind of file a word names by its suffix; None where it names none."""
    suffix = Path(word).suffix.lower()
    if not suffix:
        return None
    from ..motion.formats import (
        MOTION_SUFFIXES,
    )  # its readers need SciPy, which names of styles do not wait for

    if suffix in MOTION_SUFFIXES or is_video(word):
        return "motion"
    return "vector" if suffix == ".npy" else "file" if suffix == SUFFIX else None
