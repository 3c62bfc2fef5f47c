# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in the exact layout of FLAME's, around a head of our own, for tests that must not contain FLAME.

    python tests/support/flame_files.py OUT.pkl             # as FLAME 2023: plain NumPy and SciPy
    python tests/support/flame_files.py OUT.pkl --chumpy    # as FLAME 2020: chumpy arrays, Python 2's protocol
    python tests/support/flame_files.py OUT.npz
    python tests/support/flame_files.py OUT.pkl --landmarks landmark_embedding.npy --masks FLAME_masks.pkl

The head is the bundled one turned into another person, seen through another mesh: another identity, 5 % smaller,
tilted and moved, its vertices shifted along the surface and its edges split until there are exactly FLAME's
5,023 vertices and 9,976 triangles. Its expressions are principal components of random ARKit expressions mixed
with smooth deformations that ARKit has no name for, so that neither basis can quite say what the other can.
Needs NumPy and SciPy.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import io
import pickle
import sys
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a script
from support.paths import BUNDLED_HEAD

VERTICES, TRIANGLES = 5023, 9976
SHAPES, EXPRESSIONS, POSE_FEATURES = 300, 100, 36
NO_PARENT = 4294967295
BOUNDARY_SPLITS = (
    14  # a split on the boundary adds one triangle, an inner one two: this makes both counts come out
)
SCALE, TILT, SHIFT = 0.95, np.radians(-4.0), np.array([0.0, 0.022, -0.012])
MILLIMETRE = 1e-3


@functools.cache
def official_arrays() -> dict[str, Any]:
    """The content of a FLAME file, by its keys, float64 as there. Deterministic; a second or two the first time."""
    rng = np.random.default_rng(2020)
    head = _bundled()
    mesh, faces = _resampled()
    turn = SCALE * Rotation.from_euler("x", TILT).as_matrix()

    def carried(directions: np.ndarray) -> np.ndarray:
        """Displacements of the bundled head (V, 3, K) on the new mesh."""
        flat = mesh @ directions.reshape(len(directions), -1)
        return np.einsum("ij,vjk->vik", turn, flat.reshape(VERTICES, 3, -1))

    identity = rng.normal(0, 0.7, 100)
    person = head["v_template"] + head["shapedirs"][:, :, :100] @ identity
    template = (mesh @ person) @ turn.T + SHIFT
    weights = mesh @ head["weights"]
    in_front = 1 / (1 + np.exp(-(template[:, 2] - template[:, 2].mean()) / (15 * MILLIMETRE)))
    in_front *= 1 - weights[:, 3:].sum(axis=1)  # eyeballs stay round

    shapes = np.zeros((VERTICES, 3, SHAPES))
    shapes[:, :, :100] = carried(head["shapedirs"][:, :, :100])
    shapes[:, :, 100:] = _smooth_fields(rng, template, SHAPES - 100) * np.geomspace(0.8, 0.05, SHAPES - 100)
    expressions = _expressions(rng, carried(head["shapedirs"][:, :, 100:]), template, in_front)
    corrections = carried(head["posedirs"]) + 0.3 * in_front[:, None, None] * _smooth_fields(
        rng, template, 36
    )

    joints = (head["J_regressor"] @ person) @ turn.T + SHIFT
    regressor = _joint_regressor(template, weights, joints)
    return {
        "v_template": template,
        "f": faces.astype(np.uint32),
        "shapedirs": np.concatenate([shapes, expressions], axis=2),
        "posedirs": corrections,
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "J": regressor @ template,
        "weights": weights,
        "kintree_table": np.array([[NO_PARENT, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@functools.cache
def masks() -> dict[str, np.ndarray]:
    """The regions of `FLAME_masks.pkl` that this head can name, as vertex indices."""
    head, (mesh, _) = _bundled(), _resampled()
    nearest = np.asarray(mesh.argmax(axis=1)).ravel()
    arrays = official_arrays()
    weights, template = arrays["weights"], arrays["v_template"]

    def region(chosen: np.ndarray) -> np.ndarray:
        return np.flatnonzero(chosen)

    left, right = weights[:, 3] > 0.5, weights[:, 4] > 0.5
    face = (template[:, 2] > np.quantile(template[:, 2], 0.5)) & (weights[:, 0] < 0.5) & ~left & ~right
    upper = np.isin(nearest, head["mask_upper_face"])
    around = {s: np.isin(nearest, head[f"mask_{s}_eye"]) & ~left & ~right for s in ("left", "right")}
    return {
        "lips": region(np.isin(nearest, head["mask_lips"])),
        "face": region(face),
        "forehead": region(upper & ~around["left"] & ~around["right"]),
        "eye_region": region(around["left"] | around["right"]),
        "left_eye_region": region(around["left"]),
        "right_eye_region": region(around["right"]),
        "left_eyeball": region(left),
        "right_eyeball": region(right),
        "neck": region(weights[:, 0] > 0.3),
    }


@functools.cache
def landmarks() -> dict[str, np.ndarray]:
    """The 51 static landmarks of `landmark_embedding.npy`; only those of the mouth (48..67 of 68) are placed."""
    head, arrays = _bundled(), official_arrays()
    template, faces = arrays["v_template"], arrays["f"].astype(np.int64)
    mesh, _ = _resampled()
    upper, lower, corners = head["lip_inner_upper"], head["lip_inner_lower"], head["mouth_corners"]
    by_x = np.argsort(head["v_template"][upper, 0])  # the person's right to left, as the landmarks run
    upper, lower = upper[by_x[[1, 3, 5]]], lower[by_x[[1, 3, 5]]]
    right, left = corners[np.argsort(head["v_template"][corners, 0])]
    sources = {31 + i: v for i, v in enumerate([right, left, *upper, *lower])}  # any place for the outer lips
    sources.update({17 + 14: right, 17 + 20: left})
    sources.update({43: right, 44: upper[0], 45: upper[1], 46: upper[2]})
    sources.update({47: left, 48: lower[2], 49: lower[1], 50: lower[0]})
    nose_tip = int(np.argmax(template[:, 2]))
    index = np.empty(51, np.int64)
    corner_weights = np.zeros((51, 3))
    for landmark in range(51):
        vertex = int(mesh[:, [sources[landmark]]].toarray().argmax()) if landmark in sources else nose_tip
        index[landmark] = np.flatnonzero((faces == vertex).any(axis=1))[0]
        corner_weights[landmark] = faces[index[landmark]] == vertex
    return {"static_lmk_faces_idx": index, "static_lmk_bary_coords": corner_weights}


def write_pickle(path: Path, arrays: dict[str, Any] | None = None) -> Path:
    """As FLAME 2023: NumPy arrays and a SciPy matrix."""
    path.write_bytes(pickle.dumps(official_arrays() if arrays is None else arrays, protocol=4))
    return path


def write_chumpy_pickle(path: Path, arrays: dict[str, Any] | None = None, wrap: str = "Ch") -> Path:
    """As FLAME 2020: protocol 2, byte strings as Python 2 writes them, the large arrays inside chumpy objects.

    Args:
        wrap: `Ch` holds the array; `Select` picks it out of a longer one, `MatVecMult` multiplies it together,
            `subtract` and `Unknown` are classes from which nothing can be had. All but `Ch` concern `v_template` only.
    """
    arrays = dict(official_arrays() if arrays is None else arrays)
    with _FakeChumpy() as chumpy:
        for name in ("v_template", "shapedirs", "posedirs", "weights"):
            arrays[name] = chumpy.array(np.asarray(arrays[name]))
        if wrap != "Ch":
            arrays["v_template"] = chumpy.wrapped(wrap, np.asarray(arrays["v_template"].x))
        buffer = io.BytesIO()
        _Python2Pickler(buffer, protocol=2).dump(arrays)
    path.write_bytes(buffer.getvalue())
    return path


def write_npz(path: Path, arrays: dict[str, Any] | None = None) -> Path:
    """The same arrays as `.npz`, the regressor dense and nothing pickled."""
    arrays = dict(official_arrays() if arrays is None else arrays)
    arrays["J_regressor"] = np.asarray(arrays["J_regressor"].todense())
    np.savez(path, **arrays)
    return path


def write_landmarks(path: Path) -> Path:
    """`landmark_embedding.npy`: a dictionary pickled into an object array."""
    np.save(path, np.array(landmarks(), dtype=object), allow_pickle=True)
    return path


def write_static_embedding(path: Path) -> Path:
    """`flame_static_embedding.pkl`, the older form of the same 51 landmarks, which `smplx.FLAME` wants too."""
    both = landmarks()
    content = {"lmk_face_idx": both["static_lmk_faces_idx"], "lmk_b_coords": both["static_lmk_bary_coords"]}
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def write_masks(path: Path) -> Path:
    """`FLAME_masks.pkl`."""
    path.write_bytes(pickle.dumps(masks(), protocol=2))
    return path


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2's `str`, which Python 3 reads through `encoding`, and old names of modules."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    def save_global(self, value: Any, name: str | None = None) -> None:
        module, name = value.__module__, name or value.__qualname__
        module = {"builtins": "__builtin__", "numpy._core.multiarray": "numpy.core.multiarray"}.get(
            module, module
        )
        self.write(
            pickle.GLOBAL + f"{module.replace('scipy.sparse._csc', 'scipy.sparse.csc')}\n{name}\n".encode()
        )
        self.memoize(value)

    dispatch[bytes] = save_bytes
    dispatch[type] = save_global
    dispatch[types.FunctionType] = save_global
    dispatch[types.BuiltinFunctionType] = save_global


class _FakeChumpy:
    """Classes that pickle as chumpy's do. Their modules exist only inside the `with`."""

    def __enter__(self) -> _FakeChumpy:
        self.modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
        self.classes: dict[str, Any] = {}
        for name, module in (
            ("Ch", "chumpy.ch"),
            ("MatVecMult", "chumpy.ch"),
            ("subtract", "chumpy.ch"),
            ("Unknown", "chumpy.ch"),
            ("Select", "chumpy.reordering"),
            ("reshape", "chumpy.reordering"),
        ):
            self.classes[name] = type(name, (), {"__module__": module, "__qualname__": name})
            setattr(self.modules[module], name, self.classes[name])
        self.before = {name: sys.modules.get(name) for name in self.modules}
        sys.modules.update(self.modules)
        return self

    def __exit__(self, *_: object) -> None:
        for name, module in self.before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module

    def _object(self, kind: str, **state: Any) -> Any:
        made = self.classes[kind]()
        made.__dict__.update({"_dirty_vars": {"x"}, "_itr": None, "_depends_on_deps": {}}, **state)
        return made

    def array(self, values: np.ndarray) -> Any:
        return self._object("Ch", x=values)

    def wrapped(self, kind: str, values: np.ndarray) -> Any:
        flat = values.ravel()
        if kind == "Select":
            longer = self.array(np.concatenate([[np.pi], flat, [np.e]]))
            indices = np.arange(1, flat.size + 1, dtype=np.uint32)
            return self._object("Select", a=longer, idxs=indices, preferred_shape=values.shape)
        if kind == "MatVecMult":
            factor = scipy.sparse.identity(flat.size, format="csc")
            product = self._object("MatVecMult", mtx=factor, vec=self.array(flat))
            return self._object("reshape", a=product, newshape=values.shape)
        return self._object(kind, secret=values)


@functools.cache
def _bundled() -> dict[str, np.ndarray]:
    with np.load(BUNDLED_HEAD, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {k: a.astype(np.float64) if a.dtype == np.float32 else a for k, a in arrays.items()}


@functools.cache
def _resampled() -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Where the new vertices lie, (5023, V) with rows that sum to 1 over the bundled head's, and the triangles."""
    head = _bundled()
    kept = np.isin(head["parts"], ["body", "left-eye", "right-eye"])
    number = np.cumsum(kept) - 1
    triangles = [tuple(t) for t in number[head["f"][kept[head["f"]].all(axis=1)]]]
    where = head["v_template"][kept].tolist()
    rows = [{int(v): 1.0} for v in np.flatnonzero(kept)]
    is_eye = [bool(e) for e in head["weights"][kept][:, 3:].sum(axis=1) > 0.5]
    by_edge: dict[tuple[int, int], set[int]] = defaultdict(set)

    def edges(triangle: tuple[int, ...]) -> list[tuple[int, int]]:
        a, b, c = sorted(triangle)
        return [(a, b), (b, c), (a, c)]

    for t, triangle in enumerate(triangles):
        for edge in edges(triangle):
            by_edge[edge].add(t)

    def priority(edge: tuple[int, int]) -> float:
        a, b = np.asarray(where[edge[0]]), np.asarray(where[edge[1]])
        wanted = 3.0 if (a + b)[2] > 0.06 else 1.0  # FLAME too has most of its vertices in the face
        return -float(np.linalg.norm(a - b)) * wanted

    def split(edge: tuple[int, int]) -> list[tuple[int, int]]:
        """Put a vertex in the middle of an edge; returns the edges made."""
        a, b = edge
        middle = len(where)
        where.append(((np.asarray(where[a]) + where[b]) / 2).tolist())
        is_eye.append(is_eye[a])
        row: dict[int, float] = defaultdict(float)
        for end in edge:
            for vertex, weight in rows[end].items():
                row[vertex] += weight / 2
        rows.append(row)
        made = []
        for t in sorted(by_edge.pop(edge)):
            old = triangles[t]
            for e in edges(old):
                by_edge[e].discard(t) if e != edge else None
            for end, place in ((a, t), (b, len(triangles))):
                new = tuple(middle if v == end else v for v in old)
                if place == t:
                    triangles[t] = new
                else:
                    triangles.append(new)
                for e in edges(new):
                    by_edge[e].add(place)
                made += [e for e in edges(new) if middle in e]
        return sorted(set(made))

    for _ in range(BOUNDARY_SPLITS):
        split(min((e for e, t in by_edge.items() if len(t) == 1), key=priority))
    queue = [(priority(e), e) for e, t in by_edge.items() if len(t) == 2 and not is_eye[e[0]]]
    heapq.heapify(queue)
    while len(where) < VERTICES:
        _, edge = heapq.heappop(queue)
        if len(by_edge.get(edge, ())) == 2:
            for e in split(edge):
                heapq.heappush(queue, (priority(e), e))
    faces = np.array(triangles)
    assert len(where) == VERTICES and len(faces) == TRIANGLES

    columns = np.concatenate([list(row) for row in rows])
    values = np.concatenate([list(row.values()) for row in rows])
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    mesh = scipy.sparse.csr_matrix((values, columns, starts), (VERTICES, len(kept)))
    return (_shifted(faces, np.array(is_eye), by_edge) @ mesh).tocsr(), faces


def _shifted(
    faces: np.ndarray, is_eye: np.ndarray, by_edge: dict[tuple[int, int], set[int]]
) -> scipy.sparse.csr_matrix:
    """Move vertices along the surface, into one of their triangles, (5023, 5023); the boundary and eyes stay."""
    rng = np.random.default_rng(2023)
    still = is_eye.copy()
    still[[v for e, t in by_edge.items() if len(t) == 1 for v in e]] = True
    order = rng.permutation(len(faces))
    chosen = np.zeros(VERTICES, np.int64)
    for corner in range(3):
        chosen[faces[order, corner]] = order
    share = np.where(still, 0.0, rng.uniform(0.0, 0.35, VERTICES))
    inside = rng.dirichlet([1, 1, 1], VERTICES) * share[:, None]
    index = np.arange(VERTICES)
    moved = scipy.sparse.csr_matrix(
        (inside.ravel(), (np.repeat(index, 3), faces[chosen].ravel())), (VERTICES, VERTICES)
    )
    return scipy.sparse.diags_array(1 - share) + moved


def _smooth_fields(rng: np.random.Generator, points: np.ndarray, count: int) -> np.ndarray:
    """Random displacements (V, 3, count) that vary over 6 to 20 cm, about a millimetre."""
    out = np.zeros((len(points), 3, count))
    for _ in range(3):
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        waves = 2 * np.pi / rng.uniform(0.06, 0.2, count)
        phase = points @ (direction * waves[:, None]).T + rng.uniform(0, 2 * np.pi, count)
        out += np.sin(phase)[:, None, :] * rng.normal(0, 0.6 * MILLIMETRE, (3, count))
    return out


def _expressions(
    rng: np.random.Generator, units: np.ndarray, points: np.ndarray, in_front: np.ndarray
) -> np.ndarray:
    """100 expression directions (V, 3, 100), largest first, each as long as one standard deviation.

    They are the principal components (about the neutral face) of samples that mix the 50 ARKit `units` with
    40 smooth deformations of the face.
    """
    names = [str(name) for name in _bundled()["expression_names"]]
    strangers = _smooth_fields(rng, points, 40) * in_front[:, None, None]
    fields = np.concatenate([units, strangers], axis=2)
    samples = 2000
    amounts = rng.uniform(0, 1, (samples, 50)) * (rng.uniform(size=(samples, 50)) < 0.25)
    for left, name in enumerate(names):
        if (
            name.endswith("Left")
            and name.replace("Left", "Right") in names
            and not name.startswith(("mouthL", "jaw"))
        ):
            both = rng.uniform(size=samples) < 0.8
            amounts[both, names.index(name.replace("Left", "Right"))] = amounts[both, left]
    amounts[:, names.index("mouthClose")] *= 0.3  # alone it pushes the lips through one another
    mixture = np.concatenate([amounts, rng.normal(0, 0.6, (samples, strangers.shape[2]))], axis=1)
    flat = fields.reshape(-1, fields.shape[2])
    # The components of samples = flat @ mixture.T, through the much smaller problem between the fields.
    q, r = np.linalg.qr(flat)
    left, sigma, _ = np.linalg.svd(r @ mixture.T / np.sqrt(samples), full_matrices=False)
    components = q @ (left * sigma)
    components = components.reshape(len(points), 3, -1)
    rest = _smooth_fields(rng, points, EXPRESSIONS - components.shape[2]) * (0.02 * in_front[:, None, None])
    return np.concatenate([components, rest], axis=2)


def _joint_regressor(points: np.ndarray, weights: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Non-negative weights (5, V), rows summing to 1, of vertices around each joint that average to about it."""
    out = np.zeros((len(joints), len(points)))
    eyes = weights[:, 3:] > 0.5
    for j, joint in enumerate(joints):
        if j >= 3:
            near = np.flatnonzero(eyes[:, j - 3])
        else:
            # Seen from the side, so that a ring of skin around the joint is found and not the throat inside.
            distance = np.linalg.norm((points - joint)[:, 1:], axis=1) + 10.0 * eyes.any(axis=1)
            near = np.argsort(distance)[:300]
        system = np.concatenate([(points[near] - joint).T, np.full((1, len(near)), 0.1)])
        ridge = 1e-3 * np.eye(len(near))
        solution, _ = nnls(
            np.concatenate([system, ridge]), np.concatenate([[0, 0, 0, 0.1], np.zeros(len(near))])
        )
        out[j, near] = solution / solution.sum()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help=".pkl or .npz")
    parser.add_argument("--chumpy", action="store_true", help="as FLAME 2020, with chumpy objects")
    parser.add_argument("--landmarks", type=Path, help="also write a landmark embedding here (.npy)")
    parser.add_argument("--masks", type=Path, help="also write masks here (.pkl)")
    arguments = parser.parse_args()
    if arguments.output.suffix == ".npz":
        write_npz(arguments.output)
    elif arguments.chumpy:
        write_chumpy_pickle(arguments.output)
    else:
        write_pickle(arguments.output)
    if arguments.landmarks:
        write_landmarks(arguments.landmarks)
    if arguments.masks:
        write_masks(arguments.masks)


if __name__ == "__main__":
    main()
