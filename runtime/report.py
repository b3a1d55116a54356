"""One HTML page of a run, with all in it: curves, what the network gets wrong, its parameters, the file. Takes a Run, gives text.

A page is read by a person, so each part of it has a bound, and says what it leaves out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.roles import Role
from netc.compiler.passes.settle import settle
from netc.compiler.reference import evaluate
from netc.dsl.quoting import bounded, html_attribute, html_lines, html_text, plot_text
from netc.runtime.answers import Answer, answers
from netc.runtime.codes import pictures_of_codes
from netc.runtime.curves import draw
from netc.runtime.data.stored import Array, Bytes, Field
from netc.runtime.figures import Figure
from netc.runtime.pictures import (
    MOST_PIXELS,
    as_image,
    cards,
    drawn,
    first_of,
    left_out,
    one_of,
    png,
    svg_of,
    thinned,
)
from netc.runtime.run import Run

_WORST = 24
_MOST_TARGETS, _MOST_FIGURES, _MOST_PARAMETERS = 8, 60, 300
_MOST_CLASSES = 30  # of a confusion matrix: those in most mistakes, and all others as one
_MOST_POINTS = 20_000
_MOST_STEPS = 2_000  # of a sequence that is drawn
_MOST_TEXT = 200_000  # characters of the file
_LONGEST_LABEL = 200
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #3b82c4; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
p.sub, p.left { margin-top: 0; opacity: .75; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--soft); } th:first-child, td:first-child { text-align: left; }
.figures td { font-size: 1.3rem; padding-right: 2rem; border: 0; text-align: left; } .figures small { display: block; font-size: .8rem; opacity: .7; }
.wide { overflow-x: auto; } .wide svg { width: 100%; height: auto; background: #fff; border-radius: 4px; }
.matrix td { text-align: center; min-width: 2.2rem; border: 1px solid var(--soft); } pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: .85rem; border-radius: 4px; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; } .cards figure { margin: 0; font-size: .8rem; text-align: center; } .cards img { width: 84px; height: 84px; image-rendering: pixelated; border-radius: 4px; }
"""


def page(run: Run) -> str:
    """The whole page. Runs the model once over the test part (or the last part that there is)."""
    sections = "\n".join(_sections(run))
    name = html_text(run.model.source.file_name)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n<body>\n{sections}\n</body></html>\n"
    )


def _sections(run: Run) -> Iterator[str]:
    count = sum(type_.size(1) for type_ in run.model.parameters.values())
    yield f"<h1>{html_text(run.model.source.file_name)}</h1>"
    yield f'<p class="sub">{html_text(run.folder.resolve().name)}: {count:,} parameters, {len(run.metrics)} epochs, {sum(float(row["seconds"]) for row in run.metrics if isinstance(row["seconds"], float)):.1f} s of training</p>'
    part = _part(run)
    if part is not None:
        found = run.evaluate(part)
        yield _figures(part, found)
    if run.metrics:
        yield f'<h2>Curves</h2><div class="wide">{_curves(run.metrics)}</div>'
    if part is not None:
        yield from _answers(run, part)
    if part is not None:
        yield from _again(run, part)
        yield from pictures_of_codes(run, part)
        yield from _first_layer(run, part)
    yield f"<h2>Parameters</h2>{_parameters(run)}"
    text = run.model.source.text
    yield f"<h2>The file</h2><pre>{html_lines(text[:_MOST_TEXT])}</pre>"
    if len(text) > _MOST_TEXT:
        yield left_out(f"{len(text) - _MOST_TEXT:,} more characters are in the run's folder.")


def _part(run: Run) -> str | None:
    """The part of the data that is looked at; None if the run keeps none."""
    if run.model.data is None:
        return None
    parts = run.load_data().parts
    return next(name for name in ("test", "valid", "train") if name in parts)


def _figures(part: str, found: Mapping[str, Figure]) -> str:
    numbers = {name: value for name, value in found.items() if isinstance(value, float) and "watch." not in name}
    cells = "".join(
        f"<td>{value:.4g}<small>{part} {html_text(_short(name))}</small></td>"
        for name, value in list(numbers.items())[:_MOST_FIGURES]
    )
    return f'<table class="figures"><tr>{cells}</tr></table>{_rest(len(numbers), _MOST_FIGURES, "figures")}'


def _rest(count: int, shown: int, what: str) -> str:
    """How many more there are than are shown."""
    return left_out(f"{count - shown:,} more {what} are left out.") if count > shown else ""


def _short(label: str) -> str:
    return bounded(label, _LONGEST_LABEL)


def _curves(metrics: Sequence[Mapping[str, Figure]]) -> str:
    return svg_of(draw(metrics).decode())


# ------------------------------------------------------------------ answers


def _answers(run: Run, part: str) -> Iterator[str]:
    found = answers(run, part)
    for one in found[:_MOST_TARGETS]:
        if one.labels:
            yield f"<h2>{html_text(one.target)}: true (rows) and predicted (columns), {part}</h2>{_confusion(one)}"
        else:
            yield f'<h2>{html_text(one.target)}: predicted against true, {part}</h2><div class="wide">{_scatter(one)}</div>'
        yield f"<h2>The worst mistakes, {html_text(one.target)}</h2>{_worst(run, part, one)}"
    yield _rest(len(found), _MOST_TARGETS, "targets")


def _confusion(answer: Answer) -> str:
    """A matrix of all classes, or of those that are in most mistakes, with all others as one more."""
    count = len(answer.labels)
    labels, true, given, note = [_short(label) for label in answer.labels], answer.true, answer.given, ""
    if count > _MOST_CLASSES:
        wrong = true != given
        mistakes = sum(np.bincount(side[wrong], minlength=count) for side in (true, given))
        kept = np.sort(np.argsort(-mistakes, kind="stable")[:_MOST_CLASSES])
        place = np.full(count, _MOST_CLASSES)
        place[kept] = np.arange(_MOST_CLASSES)
        labels, true, given = [*(labels[i] for i in kept), "others"], place[true], place[given]
        note = left_out(
            f"{_MOST_CLASSES} of {count:,} classes are shown, those that are in most mistakes; all others are one."
        )
    size = len(labels)
    table = np.zeros((size, size), int)
    np.add.at(table, (true, given), 1)
    shown = [f"<tr><td></td>{''.join(f'<th>{html_text(label)}</th>' for label in labels)}</tr>"]
    for i, row in enumerate(table):
        cells = "".join(
            f'<td style="background: color-mix(in srgb, {"#2e9e5b" if i == j else "#d0453e"} {_shade(count, row.sum())}%, transparent)">{count or ""}</td>'
            for j, count in enumerate(row.tolist())
        )
        shown.append(f"<tr><th>{html_text(labels[i])}</th>{cells}</tr>")
    return f'<div class="wide"><table class="matrix">{"".join(shown)}</table></div>{note}'


def _shade(count: int, of: int) -> int:
    return round(75 * (count / of) ** 0.5) if count else 0


def _scatter(answer: Answer) -> str:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5, 4.5), layout="constrained")
    axes = picture.add_subplot()
    both = [min(answer.true.min(), answer.given.min()), max(answer.true.max(), answer.given.max())]
    axes.plot(both, both, color="0.7", linewidth=1)
    every = -(-len(answer.true) // _MOST_POINTS)
    axes.scatter(answer.true[::every], answer.given[::every], s=14, alpha=0.6, rasterized=len(answer.true) > 5000)
    axes.set(xlabel=plot_text(f"true {answer.target}"), ylabel=plot_text(f"predicted ({answer.output})"))
    return drawn(picture, "32rem") + one_of(every, "samples")


def _worst(run: Run, part: str, answer: Answer) -> str:
    dataset = run.load_data()
    order = np.argsort(-answer.wrong, kind="stable")[:_WORST]
    is_class = bool(answer.labels)
    if is_class:
        order = order[answer.given[order] != answer.true[order]]
    if not len(order):
        return "<p>None.</p>"

    def told(value: Any) -> str:
        return html_text(_short(answer.labels[int(value)])) if is_class else f"{float(value):.4g}"

    rows = dataset.rows[part]
    fields = dataset.parts[part]
    images = (one for name in run.model.inputs if (one := _images(fields[name], order)) is not None)
    image = next(images, None)
    if image is not None:
        shown = "".join(
            f"<figure><img alt={html_attribute(f'row {rows[i]}')} src={html_attribute(png(picture))}><br>{told(answer.true[i])}, taken for {told(answer.given[i])}</figure>"
            for i, picture in zip(order, image, strict=True)
        )
        return f'<div class="cards">{shown}</div>{one_of(thinned(image)[1], "pixels, along each side,")}'
    head = f"<tr><th>row</th><th>true</th><th>predicted</th><th>{'chance of the true one' if is_class else 'off by'}</th></tr>"
    body = "".join(
        f"<tr><td>{rows[i]}</td><td>{told(answer.true[i])}</td><td>{told(answer.given[i])}</td>"
        f"<td>{1 - answer.wrong[i] if is_class else answer.wrong[i]:.3g}</td></tr>"
        for i in order
    )
    return f"<table>{head}{body}</table>"


def _images(field: Field, rows: Array) -> Array | None:
    """Some samples of a field as pictures, if it looks like that."""
    if isinstance(field, Bytes):
        return as_image(Bytes(field.array[rows], field.scale))
    found = as_image(field)
    return None if found is None else found[rows]


def _again(run: Run, part: str) -> Iterator[str]:
    """What an autoencoder makes of its input: each beside what comes out in its shape, as pictures, or as lines along the steps."""
    fields = run.load_data().parts[part]
    chosen = {name: first_of(fields[name], _PAIRS) for name in run.model.inputs}
    alike = [
        (name, output)
        for name, type_ in run.model.inputs.items()
        for output, other in run.model.outputs.items()
        if type_.is_float and other.is_float and (type_.rows, type_.sample) == (other.rows, other.sample)
    ]
    alike, count = alike[:_MOST_TARGETS], len(alike)
    made = run.program.predict(chosen, outputs=[output for _, output in alike]) if alike else {}
    yield _rest(count, _MOST_TARGETS, "pairs of an input and an output")
    for name, output in alike:
        title = f"<h2>{html_text(name)}, and beside it {html_text(output)}, {part}</h2>"
        images = None if run.model.inputs[name].is_varying else as_image(chosen[name])
        if images is not None:
            again = np.clip(np.asarray(made[output]), 0, None).reshape(images.shape)
            (images, every), (again, _) = thinned(images, MOST_PIXELS // 2), thinned(again, MOST_PIXELS // 2)
            pairs = [png(np.concatenate([one, other], axis=1)) for one, other in zip(images, again, strict=True)]
            yield f"{title}{cards(pairs, 168)}{one_of(every, 'pixels, along each side,')}"
        elif len(run.model.inputs[name].sample) <= 2:
            yield f'{title}<div class="wide">{_lines(chosen[name], made[output])}</div><p>Thin: the input. Thick: what comes out. A colour a channel.</p>'


def _lines(given: Sequence[Array], made: Sequence[Array]) -> str:
    """A few samples [step] or [step, channel], their first channels as lines."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 4.2), layout="constrained")
    every = -(-max(map(len, given[:_DRAWN])) // _MOST_STEPS)
    for i, (one, other) in enumerate(zip(given[:_DRAWN], made[:_DRAWN], strict=True), 1):
        axes = picture.add_subplot(2, _DRAWN // 2, i)
        for channel in range(min(_CHANNELS, one.reshape(len(one), -1).shape[1])):
            for values, width, alpha in ((one, 0.8, 1.0), (other, 2.2, 0.5)):
                line = values.reshape(len(values), -1)[::every, channel]
                axes.plot(range(0, len(values), every), line, color=f"C{channel}", linewidth=width, alpha=alpha)
    return drawn(picture, "60rem") + one_of(every, "steps")


_DRAWN, _CHANNELS = 6, 4
_PAIRS = 16
_MOST_MAPS = 32


def _first_layer(run: Run, part: str) -> Iterator[str]:
    """The kernels that the first convolution learned, and what it makes of one sample: a map a kernel."""
    graph = run.model.graph
    first = next(
        (one for one in graph.values("conv2d") if one.operands[1].role is Role.PARAMETER and one.type.is_batched),
        None,
    )
    if first is None:
        return
    weights = run.program.parameters[first.operands[1].name]
    kernels = weights.mean(axis=2) if weights.shape[2] not in (1, 3) else weights
    pictures = [png(kernels[..., n], centred=True) for n in range(min(kernels.shape[-1], _MOST_MAPS))]
    yield f"<h2>The kernels of the first convolution, line {first.span.line}</h2>{cards(pictures)}"
    yield _rest(kernels.shape[-1], _MOST_MAPS, "kernels")
    inner = settle(graph.subgraph({"map": first})[0], training=False)
    fields = run.load_data().parts[part]
    names = [leaf.name for leaf in inner.values("input")]
    sample = {name: np.asarray(first_of(fields[name])) for name in names}
    maps = evaluate(inner, {**run.program.persistent, **sample}, 1)["map"][0]
    image = next((one for name in names if (one := as_image(sample[name])) is not None), None)
    shown = [png(image[0])] if image is not None else []
    shown += [png(maps[..., n]) for n in range(min(maps.shape[-1], _MOST_MAPS))]
    row = run.load_data().rows[part][0]
    yield f"<h2>What they make of row {row} of {part}</h2>{cards(shown)}{one_of(thinned(maps, first=0)[1], 'pixels, along each side,')}"


def _parameters(run: Run) -> str:
    rows = "".join(
        f"<tr><td>{html_text(name)}</td><td>{list(array.shape)}</td><td>{array.size:,}</td><td>{array.mean():.3g}</td>"
        f"<td>{array.std():.3g}</td><td>{array.min():.3g}</td><td>{array.max():.3g}</td></tr>"
        for name, array in list(run.program.parameters.items())[:_MOST_PARAMETERS]
    )
    note = _rest(len(run.program.parameters), _MOST_PARAMETERS, "parameters")
    head = "<tr><th>name</th><th>shape</th><th>count</th><th>mean</th><th>std</th><th>least</th><th>largest</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div>{note}'
