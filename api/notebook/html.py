"""Models, runs and predictions as HTML for the output of a cell.

Everything is an attribute of an element, and texts have the colour of the page: so the output looks right in light and
dark notebooks, and where style sheets are removed. Names and labels go through `dsl/quoting.py`.
"""

from collections.abc import Iterable, Mapping, Sequence

from netc.commands.layer_rows import HEADS, RIGHT, layer_facts, layer_rows
from netc.commands.quantities import number
from netc.compiler.analysis.layers import Layer, layers_of
from netc.compiler.analysis.outline import outline_of
from netc.compiler.model import Model
from netc.dsl.diagnostics import Fault
from netc.dsl.plural import counted
from netc.dsl.quoting import bounded, html_text
from netc.runtime.insight.curves import SMALL_WIDTH, small_curves
from netc.runtime.insight.drawing.inline import inline_picture
from netc.runtime.metric_names import epoch_numbers
from netc.runtime.metric_values import MetricValue
from netc.runtime.prediction_table import Predictions
from netc.runtime.runs.run import Run

_MOST_BOXES = 150  # in the picture of a model
_MOST_LAYERS = 60  # rows of its table
_MOST_ROWS, _MOST_COLUMNS, _WIDEST = 10, 12, 60  # of a table of predictions, and the characters of a cell
_MOST_METRICS = 16
_MOST_PANELS, _COLUMNS, _GAP = 6, 3, 8  # of curves: how many, beside each other, and pixels between them
_SOFT = "opacity:0.7"


def html_of(value: object) -> str | None:
    """The HTML of an object; None for one that is only printed."""
    match value:
        case Model():
            return model_html(value)
        case Run():
            return run_html(value)
        case Predictions():
            return predictions_html(value)
    return None


def model_html(model: Model) -> str:
    """The picture of a model, and beside it a row for each of its layers."""
    outline, layers = outline_of(model), layers_of(model)
    name = html_text(model.source.name)
    head = f"<b>{name}</b> <span style='{_SOFT}'>{model.parameter_count:,} parameters</span>"
    is_small = len(outline.boxes) <= _MOST_BOXES
    picture = inline_picture(outline, model) if is_small else _soft(f"{len(outline.boxes):,} boxes: netc show draws it")
    return beside(head, [picture, _layer_table(layers)])


def _layer_table(layers: Sequence[Layer]) -> str:
    rows = layer_rows(layer_facts(layers))[:_MOST_LAYERS]
    more = [f"{len(layers) - _MOST_LAYERS:,} more layers"] if len(layers) > _MOST_LAYERS else []
    return table(HEADS, rows, RIGHT, more)


def run_html(run: Run) -> str:
    """The metrics of a run at its last epoch and at the one that it keeps, and its curves."""
    epochs = len(run.metrics)
    name = html_text(f"{run.folder}")
    head = f"<b>{name}</b> <span style='{_SOFT}'>{html_text(run.model.source.name)}, {counted(epochs, 'epoch')}</span>"
    if not epochs:
        return beside(head, [])
    try:
        kept = run.kept_epoch()
    except Fault:  # the folder was moved or removed: the run itself can be shown all the same
        kept = None
    return beside(head, [curves(run.metrics, kept), metrics_table(run.metrics, kept)])


def curves(rows: Sequence[Mapping[str, MetricValue]], kept: int | None = None, epochs: int | None = None) -> str:
    """The curves of a run with a row for each epoch, up to the epoch `epochs`; a line marks the epoch `kept`."""
    panels = small_curves(rows, kept, epochs)[:_MOST_PANELS]
    inner = "".join(f"<div><div><b>{html_text(bounded(title, 40))}</b></div>{svg}</div>" for title, svg in panels)
    row_width = min(len(panels), _COLUMNS) * (SMALL_WIDTH + _GAP)
    look = f"display:flex;flex-wrap:wrap;gap:{_GAP}px;max-width:{row_width:g}px;font-size:13px"
    return f"<div style='{look}'>{inner}</div>"


def metrics_table(rows: Sequence[Mapping[str, MetricValue]], kept: int | None = None) -> str:
    """The metrics of the last epoch, and of the one with the number `kept` if there is one."""
    last = rows[-1]
    names = [*epoch_numbers(last)]
    shown = [(f"epoch {last['epoch']}", last)]
    if kept is not None and kept != last["epoch"]:
        shown.insert(0, (f"epoch {kept}, kept", rows[kept - 1]))
    cells = [(name, *(_metric(row.get(name)) for _, row in shown)) for name in names[:_MOST_METRICS]]
    more = [f"{len(names) - _MOST_METRICS:,} more metrics"] if len(names) > _MOST_METRICS else []
    return table(("metric", *(title for title, _ in shown)), cells, range(1, len(shown) + 1), more)


def _metric(value: MetricValue | None) -> str:
    return number(value) if isinstance(value, int | float) else ""


def predictions_html(predictions: Predictions) -> str:
    """The first predictions as a table, and the rows that could not be used."""
    columns = predictions.columns()
    count = len(next(iter(columns.values()), []))
    names = [*columns][:_MOST_COLUMNS]
    rows = [(str(i), *(_cell(columns[name][i]) for name in names)) for i in range(min(count, _MOST_ROWS))]
    more = [f"{count - _MOST_ROWS:,} more rows"] if count > _MOST_ROWS else []
    more += [f"{len(columns) - len(names):,} more columns"] if len(columns) > len(names) else []
    problems = [
        f"row {problem.row} was not used: `{problem.column}` {problem.reason}" for problem in predictions.problems
    ]
    more += [*problems[:_MOST_ROWS], *([f"{len(problems):,} rows were not used"] if problems[_MOST_ROWS:] else [])]
    head = f"<b>{counted(count, 'prediction')}</b>"
    is_number = [
        all(isinstance(cell, int | float) or hasattr(cell, "dtype") for cell in columns[name][:1]) for name in names
    ]
    right = [0, *(i for i, flag in enumerate(is_number, 1) if flag)]
    return beside(head, [table(("", *names), rows, right, more)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if hasattr(value, "dtype") or isinstance(value, float):
        return f"{float(value):.4g}"  # type: ignore[arg-type]  # a number of NumPy
    return bounded(str(value), _WIDEST)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = (), more: Sequence[str] = ()
) -> str:
    """A table of texts; the columns with the numbers `right` are aligned to the right, and `more` are lines below."""
    aligned, look = {*right}, "padding:1px 8px;min-width:0;white-space:nowrap"

    def cells(words: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag} style='text-align:{'right' if i in aligned else 'left'};{look}'>{html_text(word)}</{tag}>"
            for i, word in enumerate(words)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    below = "".join(_soft(line) for line in more)
    style = "border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:0"
    head = f"<thead><tr>{cells(heads, 'th')}</tr></thead>"
    return f"<div><table style='{style}'>{head}<tbody>{body}</tbody></table>{below}</div>"


def _soft(text: str) -> str:
    return f"<div style='{_SOFT};font-size:13px'>{html_text(text)}</div>"


def beside(head: str, parts: Iterable[str]) -> str:
    """A line of HTML, and below it parts that stand beside each other where there is room."""
    inner = "".join(f"<div style='overflow-x:auto;max-width:100%'>{part}</div>" for part in parts)
    style = "display:flex;flex-wrap:wrap;gap:12px 28px;align-items:flex-start;margin-top:6px"
    font = "font-family:system-ui,sans-serif;font-size:14px"
    return f"<div style='{font}'><div>{head}</div><div style='{style}'>{inner}</div></div>"
