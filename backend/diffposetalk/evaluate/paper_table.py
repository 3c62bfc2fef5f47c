# SPDX-License-Identifier: GPL-3.0-or-later
"""Table 1 of the paper, transcribed, to stand beside figures measured here."""

from __future__ import annotations

CAPTION = (
    "Table 1 of the paper: quantitative evaluation of the comparative methods, the proposed method, and ablation study "
    "variants, run 10 times, average with a 95 % confidence interval when applicable. Vertex-related metrics are not "
    "comparable with SadTalker due to its different face topology."
)
NOT_COMPARABLE = (
    "The paper's figures are from other data (its TFHP test speakers), on FLAME's mesh, with regions and units partly "
    "unstated. They give the order of magnitude; they are not directly comparable with figures measured here."
)
COLUMNS = ("lve", "fdd", "mod", "ba", "div_exp", "div_hp")
"""Keys of `reported_figures.METRICS`, in the table's order."""

TABLE_1: dict[str, dict[str, tuple[str, ...]]] = {
    "w/o HP": {
        "FaceFormer": ("9.90 ± 0.030", "16.95 ± 0.016", "2.63 ± 0.015", "N/A", "0", "N/A"),
        "CodeTalker": ("12.71 ± 0.057", "12.44 ± 0.064", "2.87 ± 0.034", "N/A", "0", "N/A"),
        "FaceDiffuser": ("12.12 ± 0.038", "15.48 ± 0.048", "3.50 ± 0.052", "N/A", "5.93e-5", "N/A"),
        "Ours (no HP)": ("8.81 ± 0.008", "10.13 ± 0.038", "1.72 ± 0.009", "N/A", "2.83", "N/A"),
    },
    "w/ HP": {
        "Yi et al.": ("9.99", "21.50", "2.42", "0.26", "0", "0"),
        "SadTalker": ("—", "—", "—", "0.24 ± 0.001", "0", "0.808"),
        "Ours": ("8.94 ± 0.013", "9.60 ± 0.027", "1.62 ± 0.009", "0.29 ± 0.005", "2.19", "1.16"),
    },
    "Ablations": {
        "Ours w/o L_geo": ("11.29 ± 0.012", "15.11 ± 0.043", "2.14 ± 0.013", "0.28 ± 0.009", "—", "—"),
        "Ours w/o AM": ("12.81 ± 0.011", "12.58 ± 0.049", "2.18 ± 0.007", "0.24 ± 0.006", "—", "—"),
        "Ours w/o CFG": ("9.58 ± 0.014", "9.59 ± 0.032", "1.56 ± 0.011", "0.29 ± 0.010", "—", "—"),
        "Ours w/o SSE": ("11.33 ± 0.013", "12.97 ± 0.052", "2.03 ± 0.017", "0.28 ± 0.005", "—", "—"),
    },
}
"""The printed cells of COLUMNS (mean ± 95 %) by group and method."""
