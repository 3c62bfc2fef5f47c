# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an evaluation: one HTML page that needs no network, no terminal and no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from ..files.whole_file import whole_file
from ..head.head_model import HeadModel
from . import plots
from .confidence import Estimate
from .paper_table import CAPTION, COLUMNS, NOT_COMPARABLE, TABLE_1
from .reported_figures import BY_KEY, FAMILIES, LONG_TAKE, METRICS, PAPER, STYLE, Metric, printed
from .results import Corpus, Evaluation, rows_of

STRIP = "The head at lip-shaping phones, at the phone's middle (first run). In the corner: mouth opening."
CURVES = (
    "Strong lines: first run; faint lines: the other runs. Shaded: P B M (red), open vowels (green), rounded phones "
    "(blue)."
)
STYLESHEET = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #23262b;
  background: #fbfbfa; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 2.2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid #dcdee2; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; }
.muted, caption, figcaption { color: #62676f; font-size: .87rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .7rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; max-width: 46rem; }
th, td { padding: .28rem 1.1rem .28rem 0; border-bottom: 1px solid #e8eaed; vertical-align: top; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #b9bec6; font-weight: 600; vertical-align: bottom; }
th.group { color: #62676f; font-weight: 600; padding-top: .9rem; text-align: left; }
tr.measured td { background: #eef4fb; font-weight: 600; }
td.words { text-align: left; white-space: normal; }
td small, th small { color: #757b84; font-weight: 400; }
figure { margin: .8rem 0 1.4rem; }
img { max-width: 100%; height: auto; display: block; background: white; border: 1px solid #e8eaed; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .8rem 0; font-size: .92rem; }
dt { color: #62676f; } dd { margin: 0; overflow-wrap: anywhere; }
ul.notes { padding-left: 1.1rem; max-width: 46rem; }
@media print { body { background: white; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""


def write_report(evaluation: Evaluation, path: str | Path, head: HeadModel) -> Path:
    """Draw and write the page, whole or not at all.

    Args:
        head: that the motion is shown on.

    Raises:
        OutputError: the file cannot be written.
        DiffPoseTalkError: Matplotlib is missing.
    """
    path = Path(path)
    text = page(evaluation, head)
    with whole_file(path) as file:
        file.write(text.encode())
    return path


def page(evaluation: Evaluation, head: HeadModel) -> str:
    """The HTML of an evaluation."""
    plots.require_matplotlib()
    shown = [m for m in METRICS if any(m in rows_of(corpus) for corpus in evaluation.corpora)]
    title = "Evaluation: " + _text(evaluation.settings.get("Model", "motion files"))
    body = [
        "<h1>Evaluation of speech-driven face and head motion</h1>",
        _pairs(evaluation.settings),
        _notes(evaluation),
        *(_corpus(corpus, evaluation, head) for corpus in evaluation.corpora),
        _paper(evaluation),
        _long_take(evaluation),
        _style(evaluation),
        "<h2>What the figures mean</h2>",
        _pairs({m.title: m.meaning for m in shown}),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLESHEET}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _notes(evaluation: Evaluation) -> str:
    pairs = ((corpus, figures) for corpus in evaluation.corpora for figures in corpus.figures)
    own = (f"{f.subject} on {corpus.name}: {note}" for corpus, f in pairs for note in f.notes)
    notes = [*evaluation.notes, *own]
    if not notes:
        return ""
    return '<ul class="notes muted">' + "".join(f"<li>{_text(note)}</li>" for note in notes) + "</ul>"


def _corpus(corpus: Corpus, evaluation: Evaluation, head: HeadModel) -> str:
    parts = [
        f"<h2>{_text(corpus.name)}</h2>",
        f'<p class="muted">{_text(corpus.described())}</p>',
        _figures_table(corpus),
        _image(
            plots.intervals(corpus, ["lve", "fdd", "mod", "ba", "closure", "opening"]),
            "Mean and 95 % confidence interval over runs; faint dots are single runs. Systems that give the same "
            "every time have no interval.",
        ),
    ]
    worst = corpus.worst()
    for index in corpus.pictured:
        remark = ' <small class="muted">largest LVE</small>' if index == worst else ""
        parts += [
            f"<h3>{_text(corpus.references[index].id)}{remark}</h3>",
            _image(plots.strip(corpus, index, head), STRIP),
            _image(plots.curves(corpus, index), CURVES),
        ]
    spectra = plots.spectra(corpus, evaluation.long_take)
    if spectra is not None:
        also = ", and of the long recording" if evaluation.long_take else ""
        parts += ["<h3>Spectra</h3>", _image(spectra, f"Power by frequency, first run{also}.")]
    return "\n".join(part for part in parts if part)


def _figures_table(corpus: Corpus) -> str:
    head = "".join(
        f"<th>{_text(f.subject)}<br><small>{f.runs} run{'s' if f.runs > 1 else ''}</small></th>"
        for f in corpus.figures
    )
    body = []
    for family, metrics in FAMILIES.items():
        rows = rows_of(corpus, metrics)
        body += [_group(family, 1 + len(corpus.figures))] if rows else []
        for m in rows:
            cells = "".join(f"<td>{printed(m, f.estimates.get(m.key))}</td>" for f in corpus.figures)
            body.append(
                f'<tr title="{_text(m.meaning)}"><td>{_text(m.title)}{m.arrow}</td>'
                f"<td><small>{_text(m.unit)}</small></td>{cells}</tr>"
            )
    return (
        '<div class="wide"><table><caption>Mean ± 95 % confidence interval over runs (Student’s t). ↓ lower is better, '
        "↑ higher; what is closest to the recorded column is best where there is no arrow.</caption>"
        f"<thead><tr><th></th><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _paper(evaluation: Evaluation) -> str:
    pairs = ((corpus, figures) for corpus in evaluation.corpora for figures in corpus.figures)
    measured = [(corpus, figures) for corpus, figures in pairs if "lve" in figures.estimates]
    if not measured:
        return ""
    columns = [BY_KEY[key] for key in COLUMNS]
    head = "".join(f"<th>{_text(m.title)}{m.arrow}<br><small>{_text(m.unit)}</small></th>" for m in columns)
    body = [_group("Measured here", len(columns))]
    for corpus, figures in measured:
        who = f"{_text(figures.subject)} <small>{_text(corpus.name)}</small>"
        cells = "".join(f"<td>{printed(m, figures.estimates.get(m.key))}</td>" for m in columns)
        body.append(f'<tr class="measured"><td>{who}</td>{cells}</tr>')
    for group, rows in TABLE_1.items():
        body.append(_group(f"Paper, {group}", len(columns)))
        for method, published in rows.items():
            cells = "".join(f"<td>{_text(cell)}</td>" for cell in published)
            body.append(f"<tr><td>{_text(method)}</td>{cells}</tr>")
    return (
        f"<h2>{PAPER}, beside its Table 1</h2><p><strong>Not directly comparable.</strong> {_text(NOT_COMPARABLE)}</p>"
        f'<div class="wide"><table><caption>{_text(CAPTION)}</caption><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _group(name: str, columns: int) -> str:
    return f'<tr><th class="group" colspan="{1 + columns}">{_text(name)}</th></tr>'


def _long_take(evaluation: Evaluation) -> str:
    take = evaluation.long_take
    if take is None:
        return ""
    return (
        f"<h2>One long recording</h2><p>{len(take.clips)} takes of {take.seconds:.0f} s of speech, for what short "
        "recordings cannot show: joins between windows, blinks, slow head motion.</p>"
        + _simple_table([m for m in LONG_TAKE if m.key in take.estimates], take.estimates)
    )


def _style(evaluation: Evaluation) -> str:
    if not evaluation.style:
        return ""
    values = {key: Estimate(value, None, 1) for key, value in evaluation.style.items()}
    return "<h2>Following style references</h2>" + _simple_table(STYLE, values)


def _simple_table(metrics: Sequence[Metric], values: dict[str, Estimate]) -> str:
    rows = "".join(
        f"<tr><td>{_text(m.title)}{m.arrow}</td><td>{printed(m, values.get(m.key))}</td>"
        f"<td><small>{_text(m.unit)}</small></td><td class='words'><small>{_text(m.meaning)}</small></td></tr>"
        for m in metrics
    )
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _pairs(pairs: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def _image(data: bytes | None, caption: str) -> str:
    if data is None:
        return ""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(data).decode("ascii")
    return (
        f'<figure><img alt="{_text(caption)}" src="data:image/{kind};base64,{encoded}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)
