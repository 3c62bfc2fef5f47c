# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples MakeHuman identities and finds their principal components.

An identity is a vector of non-negative coefficients over targets (a two-way detail such as
nose-hump has one column for each direction), so that everything about it is linear from there on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from makehuman import Floats, read_detail_targets, read_target

CATEGORIES = (
    "head", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "mouth", "neck", "nose",
)  # fmt: skip
GENDERS, AGES, LEVELS = ("female", "male"), ("young", "old"), ("min", "average", "max")
ANCESTRIES = ("african", "asian", "caucasian")

# Standard deviation of a detail coefficient (1 is the far end of MakeHuman's slider), and of the part
# in which left and right differ. Whole-part moves are rarer in people than changes of form.
DETAIL_SPREAD = 0.28
ASYMMETRY_SPREAD = 0.04
SMALL_SPREAD = 0.12
SMALL_DETAILS = ("trans", "shape", "age", "eye-scale", "eye-push", "measure", "scale-depth", "septum")
LATERAL_DETAILS = ("head-trans-in", "neck-trans-in", "mouth-trans-in", "nose-trans-in")


@dataclass(frozen=True)
class Identities:
    """Sampled people: displacement = coefficients @ targets.

    coefficients (S, K); targets (K, N, 3) metres over the base mesh.
    """

    coefficients: Floats
    targets: Floats


def sample_identities(pairs: int, vertex_count: int, seed: int) -> Identities:
    """Draw `pairs` people and the mirror image of each, so that their mean is symmetric."""
    rng = np.random.default_rng(seed)
    macro_names, macro = _sample_macros(rng, pairs)
    details = [
        target
        for target in read_detail_targets(CATEGORIES)
        if not any(target[1].endswith(lateral) for lateral in LATERAL_DETAILS)
    ]
    straight, mirrored = _sample_details(rng, pairs, details)
    names = macro_names + [name for _, negative, positive in details for name in (negative, positive)]
    coefficients = np.concatenate([np.hstack([macro, straight]), np.hstack([macro, mirrored])])
    targets = np.stack([read_target(name, vertex_count) for name in names])
    return Identities(coefficients, targets)


def principal_components(samples: Floats, targets: Floats, count: int) -> tuple[Floats, Floats]:
    """Principal components of samples @ targets, one standard deviation long.

    samples (S, K) centred coefficients; targets (K, D) displacements. Returns components (count, D) and
    the share of the variance each explains. The sign makes each one's largest entry positive.
    """
    centred = samples - samples.mean(axis=0)
    gram = targets @ targets.T
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.maximum(values, 0))
    _, singular, rotation = np.linalg.svd(centred @ root, full_matrices=False)
    scaled = singular[:count] / np.sqrt(len(samples) - 1)
    safe = np.where(values > values.max() * 1e-12, np.sqrt(np.maximum(values, 1e-300)), np.inf)
    whitened = (vectors / safe).T @ targets
    components = scaled[:, None] * (rotation[:count] @ whitened)
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return components * np.sign(largest), (singular**2 / (singular**2).sum())[:count]


def _sample_macros(rng: np.random.Generator, count: int) -> tuple[list[str], Floats]:
    """Names of the macro targets and their coefficients (count, K) in sampled people."""
    male = rng.beta(0.8, 0.8, count)
    old = rng.beta(1.0, 5.0, count)
    muscle, weight = (np.clip(rng.normal(0.5, 0.16, count), 0, 1) for _ in range(2))
    ancestry = rng.dirichlet((0.8, 0.8, 0.8), count)
    gender_share = dict(zip(GENDERS, (1 - male, male), strict=True))
    age_share = dict(zip(AGES, (1 - old, old), strict=True))
    muscle_share, weight_share = (dict(zip(LEVELS, _three_way(x), strict=True)) for x in (muscle, weight))

    names, columns = [], []
    for gender in GENDERS:
        for age in AGES:
            common = gender_share[gender] * age_share[age]
            for i, people in enumerate(ANCESTRIES):
                names.append(f"macrodetails/{people}-{gender}-{age}")
                columns.append(common * ancestry[:, i])
            for m in LEVELS:
                for w in LEVELS:
                    names.append(f"macrodetails/universal-{gender}-{age}-{m}muscle-{w}weight")
                    columns.append(common * muscle_share[m] * weight_share[w])
    return names, np.stack(columns, axis=1)


def _three_way(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Linear interpolation weights of 0, 1/2 and 1 at x in [0, 1]."""
    return np.maximum(1 - 2 * x, 0), 1 - np.abs(1 - 2 * x), np.maximum(2 * x - 1, 0)


def _sample_details(
    rng: np.random.Generator, count: int, details: list[tuple[str, str, str]]
) -> tuple[Floats, Floats]:
    """Coefficients (count, 2 * len(details)), negative and positive column of each, and their mirror."""
    signed = np.zeros((count, len(details)))
    index = {positive: i for i, (_, _, positive) in enumerate(details)}
    partner = np.arange(len(details))
    for i, (side, _, positive) in enumerate(details):
        spread = SMALL_SPREAD if any(word in positive for word in SMALL_DETAILS) else DETAIL_SPREAD
        if side == "right":
            continue
        common = rng.normal(0, spread, count)
        if side == "unsided":
            signed[:, i] = common
            continue
        partner[i] = index[positive.replace("/l-", "/r-")]
        partner[partner[i]] = i
        difference = rng.normal(0, ASYMMETRY_SPREAD, count)
        signed[:, i], signed[:, partner[i]] = common + difference, common - difference
    signed = np.clip(signed, -1, 1)

    def two_columns(values: Floats) -> Floats:
        return np.stack([np.maximum(-values, 0), np.maximum(values, 0)], axis=-1).reshape(count, -1)

    return two_columns(signed), two_columns(signed[:, partner])
