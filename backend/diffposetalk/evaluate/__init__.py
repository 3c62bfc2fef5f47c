# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring models, other systems' motion and baselines: the paper's metrics, articulation, dynamics, styles.

Metrics are functions over arrays, one module a family (`lip_vertex_error`, `upper_face_dynamics`, `mouth_opening`,
`beat_alignment`, `diversity`, `articulation`, `lip_sync`, `dynamics`, `style_retrieval`), measured on the parts of the
face that `geometry` follows. `evaluation` measures a `subjects.Subject` on `references`; `results`, `plots`, `render`
and `report` show what was found.
"""
