# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring motion against recordings: the paper's metrics, articulation on phones, timing, dynamics, style.

`references` are what is measured on, `subjects` who speaks; `evaluation` measures one on the other by `paper_metrics`,
`lip_sync`, `lips.articulation` and `motion.dynamics`; `reported_figures` is the table of what comes out, `results` and
`report` print it.
"""
