# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shape keys of other people's characters mean, read from their names. No bpy here.

ARKit's names come with prefixes and suffixes (`blendShape1.eyeBlink_L`, `CTRL_expressions_eyeBlinkL`), other
cases and other spellings of left and right, and some tools use words of their own (Character Creator's
`Brow_Drop_L`, MetaHuman's `mouthCornerPullL`). A name is taken apart into its core and its side. What stands
before and after the cores of many names alike is an affix, and then the rest must be a known word exactly: a
key that merely contains one is something else.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from . import arkit

LEFT, RIGHT = "Left", "Right"
_SIDES = {
    "l": LEFT,
    "lft": LEFT,
    "lt": LEFT,
    "left": LEFT,
    "r": RIGHT,
    "rgt": RIGHT,
    "rt": RIGHT,
    "right": RIGHT,
}
_SIDES |= {"左": LEFT, "右": RIGHT}
_JAPANESE_SIDE = re.compile("^([左右])")
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_CORNERS = {"ul": ("u", "l"), "ur": ("u", "r"), "dl": ("d", "l"), "dr": ("d", "r")}
VOTING_CORE = 7  # letters: what stands around shorter words tells nothing about affixes
FEWEST_VOTES = 3
VOTE_SHARE = 0.2  # of the most frequent affix
KNOWN_AFFIXES = (
    ("", ""), ("blendshape", ""), ("ctrlexpressions", ""), ("fcl", ""), ("facsbs", ""), ("facsbs", "div2"),
    ("facsjnt", ""), ("facsctrl", ""), ("vrc", ""),
)  # fmt: skip
_NUMBERED = re.compile(r"^.*?\d+[_.\- ]+(?=[^\W\d_])")  # AK_09_EyeBlinkLeft
_DAZ = re.compile(r"^.*__(?=facs_)")  # Genesis9__facs_bs_...

# Other words for ARKit's, by preference: a channel is shown by all keys of the first group that is there.
# Where a side is part of the channel's name, it is left out here.
_SIDED_WORDS = {
    "eyeBlink": (("blink",), ("eyeclose",), ("eyeclosed",), ("eyelidclose",), ("まばたき",)),
    "eyeLookDown": (("eyedown",),),
    "eyeLookUp": (("eyeup",),),
    "eyeLookIn": (("eyein",),),
    "eyeLookOut": (("eyeout",),),
    "eyeSquint": (("eyesquintinner",), ("squint",)),
    "eyeWide": (("eyewiden",), ("eyewideopen",), ("eyeswide",), ("eyeopen",), ("びっくり",)),
    "mouthSmile": (
        ("mouthcornerpull", "mouthcornerslant"),
        ("mouthcornerup",),
        ("smile",),
        ("口角上げ",),
        ("にやり",),
    ),
    "mouthFrown": (("mouthcornerdepress",), ("mouthcornerdown",), ("frown",), ("mouthsad",), ("口角下げ",)),
    "mouthDimple": (("dimple",),),
    "mouthStretch": (("lipsstretch",),),
    "mouthPress": (
        ("mouthpressu", "mouthpressd"),
        ("mouthpressupper", "mouthpresslower"),
        ("mouthlipspress",),
    ),
    "mouthLowerDown": (("mouthdownlower",), ("mouthlowerlipdepress",), ("lowerlipdown",), ("lipslowerdown",)),
    "mouthUpperUp": (
        ("mouthupupper",),
        ("mouthupperlipraise",),
        ("upperlipraise",),
        ("upperlipup",),
        ("lipsupperup",),
    ),
    "browDown": (
        ("browdrop",),
        ("browlower",),
        ("browlowerer", "browpinch"),
        ("browsdown",),
        ("browsd",),
        ("怒り",),
    ),
    "browOuterUp": (("browraiseouter",), ("browouterraise",), ("browsup",), ("browsu",), ("上",)),
    "cheekSquint": (("cheekraise",), ("eyecheekraise",)),
    "noseSneer": (("nosewrinkle",), ("sneer",), ("nosescrunch",)),
    "mouth": (("midmouth",), ("mouthupper", "mouthlower")),
}
_MIDDLE_WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "browInnerUp": (("browraiseinner",), ("browraisein",), ("browinnerraise",), ("browsuc",), ("困る",)),
    "cheekPuff": (("mouthcheekblow",), ("cheekblow",), ("puff",)),
    "mouthFunnel": (
        ("mouthfunnelu", "mouthfunneld"),
        ("mouthfunnelup", "mouthfunneldown"),
        ("mouthfunnelupper", "mouthfunnellower"),
        ("lipsfunnel",),
        ("lipfunnel",),
        ("lipfunnelupper", "lipfunnellower"),
        ("mouthwhistlenarrowadjust",),
    ),
    "mouthPucker": (
        ("mouthlipspurseu", "mouthlipspursed"),
        ("mouthpuckerup", "mouthpuckerdown"),
        ("mouthpuckerupper", "mouthpuckerlower"),
        ("lipspucker",),
        ("lippucker",),
        ("lippuckerupper", "lippuckerlower"),
        ("mouthpurseupper", "mouthpurselower"),
        ("mouthnarrow",),
    ),
    "mouthRollLower": (
        ("mouthrollinlower",), ("mouthlowerliprollin",), ("mouthlowerroll",), ("lipsucklower",), ("lipslowerclose",),
        ("lowerlipin",),
    ),
    "mouthRollUpper": (
        ("mouthrollinupper",), ("mouthupperliprollin",), ("mouthupperroll",), ("lipsuckupper",), ("lipsupperclose",),
        ("upperlipin",),
    ),
    "mouthShrugLower": (("jawchinraised",), ("mouthlowershrug",), ("mouthraiserlower",), ("chinlowerraise",)),
    "mouthShrugUpper": (("jawchinraiseu",), ("mouthuppershrug",), ("mouthraiserupper",), ("chinupperraise",)),
    "mouthClose": (
        ("mouthclosed",), ("mouthlipstogetheru", "mouthlipstogetherd"), ("mouthlipstogether",),
        ("mouthcloseupper", "mouthcloselower"),
    ),
    "jawForward": (("jawfwd",), ("jawforeward",)),
    "jawOpen": (("openjaw",), ("jawdrop",), ("mouthopen",)),
}  # fmt: skip
# Names with two sides, that of the eye and that of the gaze: Character Creator's and MetaHuman's.
_GAZES = {
    ("eyeleftlook", LEFT): "eyeLookOutLeft", ("eyeleftlook", RIGHT): "eyeLookInLeft",
    ("eyerightlook", LEFT): "eyeLookInRight", ("eyerightlook", RIGHT): "eyeLookOutRight",
    ("eyelookleft", LEFT): "eyeLookOutLeft", ("eyelookleft", RIGHT): "eyeLookInRight",
    ("eyelookright", LEFT): "eyeLookInLeft", ("eyelookright", RIGHT): "eyeLookOutRight",
}  # fmt: skip


def _words() -> dict[tuple[str, str], tuple[str, int]]:
    """(core, side) to the channel it means and the preference of its group, lowest first."""
    words = {pair: (channel, 0) for pair, channel in _GAZES.items()}
    for channel in (*arkit.EXPRESSION_NAMES, arkit.JAW_OPEN):
        side = next((s for s in (LEFT, RIGHT) if channel.endswith(s)), "")
        stem = channel.removesuffix(side)
        groups = ((stem.lower(),), *(_SIDED_WORDS.get(stem, ()) if side else _MIDDLE_WORDS.get(stem, ())))
        for preference, group in enumerate(groups):
            for core in group:
                for spelled in (side,) if side else ("", LEFT, RIGHT):
                    words.setdefault((core, spelled), (channel, preference))
    return words


WORDS = _words()
BOTH_SIDES = {
    core: stem
    for stem, groups in _SIDED_WORDS.items()
    if stem != "mouth" and not stem.startswith("eyeLookIn") and not stem.startswith("eyeLookOut")
    for core in (stem.lower(), *(core for group in groups for core in group))
}


def core_and_side(name: str) -> tuple[str, str]:
    """Take a name apart: `CC_Eye_Blink_L` is ("cceyeblink", "Left"); of two sides the last one counts."""
    tokens: list[str] = []
    for token in _TOKEN.findall(_JAPANESE_SIDE.sub(r"\1 ", name)):
        tokens += _CORNERS.get(token.lower(), (token.lower(),))
    places = [place for place, token in enumerate(tokens) if token in _SIDES]
    side = ""
    if places:
        side = _SIDES[tokens.pop(places[-1])]
    core = "".join(_SIDES[token].lower() if token in _SIDES else token for token in tokens)
    if not side:
        for written, meant in (("left", LEFT), ("right", RIGHT)):
            if core.endswith(written) and core != written:
                return core.removesuffix(written), meant
            if core.startswith(written) and core != written:
                return core.removeprefix(written), meant
    return core, side


def bare(name: str) -> str:
    """A name without the number or the figure's name that some tools put before it."""
    name = _DAZ.sub("", name)
    while _NUMBERED.match(name):
        name = _NUMBERED.sub("", name, count=1)
    return name


def match_arkit(
    names_by_mesh: Mapping[str, Sequence[str]],
) -> dict[str, list[tuple[str, str]]]:
    """Which shape keys show which of ARKit's channels.

    Args:
        names_by_mesh: names of the shape keys by mesh.

    Returns:
        Channel (one of `arkit.EXPRESSION_NAMES` or jawOpen) to (mesh, name) pairs: several where several
        meshes have it, or where a tool splits it into left and right. A key that shows both sides at once is under
        both, where no keys show them apart.
    """
    split = {
        mesh: {name: core_and_side(bare(name)) for name in names} for mesh, names in names_by_mesh.items()
    }
    everywhere = _affixes(pair for parts in split.values() for pair in parts.values())
    by_channel: dict[str, list[tuple[str, str]]] = {}
    for mesh, parts in split.items():
        own = core_and_side(mesh)[0]
        affixes = [*KNOWN_AFFIXES, (own, ""), *everywhere, *_affixes(parts.values(), 2)]
        preferences: dict[str, list[tuple[int, str]]] = {}
        for name, (core, side) in parts.items():
            match = _match(core, side, affixes)
            if match is not None:
                preferences.setdefault(match[0], []).append((match[1], name))
        for channel, choices in preferences.items():
            best = min(preference for preference, _ in choices)
            keys = [name for preference, name in choices if preference == best]
            by_channel.setdefault(channel, []).extend((mesh, name) for name in _distinct(keys, parts))
        for name, (core, side) in parts.items():
            stem = None if side else _whole(core, affixes)
            for channel in (f"{stem}{LEFT}", f"{stem}{RIGHT}") if stem else ():
                if channel not in preferences:
                    by_channel.setdefault(channel, []).append((mesh, name))
    return by_channel


def _whole(core: str, affixes: Iterable[tuple[str, str]]) -> str | None:
    """The stem of the two channels that a key without a side shows at once."""
    for prefix, suffix in affixes:
        if core.startswith(prefix) and core.endswith(suffix):
            word = core[len(prefix) : len(core) - len(suffix)]
            if word in BOTH_SIDES:
                return BOTH_SIDES[word]
    return None


def _distinct(names: list[str], parts: Mapping[str, tuple[str, str]]) -> list[str]:
    """Of names that mean the same to the letter the first: `eyeBlink_L` and `eyeBlinkLeft` are one too many."""
    seen: dict[tuple[str, str], str] = {}
    for name in names:
        seen.setdefault(parts[name], name)
    whole = [name for name in seen.values() if not parts[name][1]]
    sided = [name for name in seen.values() if parts[name][1]]
    return whole[:1] if whole and sided and parts[whole[0]][0] == parts[sided[0]][0] else list(seen.values())


def _match(core: str, side: str, affixes: Iterable[tuple[str, str]]) -> tuple[str, int] | None:
    """The channel and preference of a name's parts; the longest known word wins."""
    best: tuple[int, tuple[str, int]] | None = None
    for prefix, suffix in affixes:
        if not (core.startswith(prefix) and core.endswith(suffix) and len(core) > len(prefix) + len(suffix)):
            continue
        rest = core[len(prefix) : len(core) - len(suffix)]
        meaning = WORDS.get((rest, side))
        if meaning is None and not side and rest[-1:] in "lr":  # eyeblinkl, written in one
            meaning = WORDS.get((rest[:-1], LEFT if rest[-1] == "l" else RIGHT))
        if meaning is not None and (best is None or len(rest) > best[0]):
            best = (len(rest), meaning)
    return best[1] if best is not None else None


def _affixes(parts: Iterable[tuple[str, str]], fewest: int = FEWEST_VOTES) -> list[tuple[str, str]]:
    """What stands before and after known words in many of the names, the most frequent first."""
    votes: Counter[tuple[str, str]] = Counter()
    cores = {core for core, _ in WORDS if len(core) >= VOTING_CORE}
    for core, _ in set(parts):
        around = set()
        for word in cores:
            place = core.find(word)
            if place >= 0:
                around.add((core[:place], core[place + len(word) :]))
        votes.update(around)
    if not votes:
        return []
    least = max(fewest, VOTE_SHARE * votes.most_common(1)[0][1])
    return [affix for affix, count in votes.most_common() if count >= least]


# Visemes: the shapes of a set, each with the ways it is spelled.
OCULUS: dict[str, tuple[str, ...]] = {
    "sil": ("sil",), "PP": ("pp",), "FF": ("ff",), "TH": ("th",), "DD": ("dd",), "kk": ("kk",), "CH": ("ch",),
    "SS": ("ss",), "nn": ("nn",), "RR": ("rr",), "aa": ("aa",), "E": ("e",), "I": ("i", "ih"),
    "O": ("o", "oh"), "U": ("u", "ou"),
}  # fmt: skip
VRM: dict[str, tuple[str, ...]] = {
    "A": ("a", "aa", "あ"), "I": ("i", "ih", "い"), "U": ("u", "ou", "う"), "E": ("e", "ee", "え"),
    "O": ("o", "oh", "お"),
}  # fmt: skip
PRESTON_BLAIR: dict[str, tuple[str, ...]] = {
    "AI": ("ai",), "E": ("e",), "O": ("o",), "U": ("u",), "L": ("l",), "WQ": ("wq",), "MBP": ("mbp",),
    "FV": ("fv",), "etc": ("etc", "cdgknrsthyz", "cons"), "rest": ("rest", "x"),
}  # fmt: skip
VISEME_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "oculus": OCULUS,
    "vrm": VRM,
    "preston_blair": PRESTON_BLAIR,
}
_ENOUGH = {"oculus": 12, "vrm": 4, "preston_blair": 8}


def match_visemes(names: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """The set of visemes among the names of a mesh's shape keys.

    Returns:
        ("oculus", "vrm" or "preston_blair", viseme to name), or None where there is no such set.
    """
    plain = {re.sub(r"[\W_]", "", bare(name)).lower(): name for name in reversed(names)}
    for title, visemes in VISEME_SETS.items():
        best: dict[str, str] = {}
        for prefix in _prefixes(plain, visemes.values()):
            keys = {
                viseme: plain[prefix + spelled]
                for viseme, spellings in visemes.items()
                for spelled in spellings[::-1]
                if prefix + spelled in plain
            }
            if len(keys) > len(best):
                best = keys
        if len(best) >= _ENOUGH[title]:
            return title, best
    return None


def _prefixes(names: Iterable[str], spellings: Iterable[tuple[str, ...]]) -> set[str]:
    """What may stand before the visemes of a set: what stands before any of them."""
    endings = [spelled for group in spellings for spelled in group]
    return {name.removesuffix(ending) for name in names for ending in endings if name.endswith(ending)}
