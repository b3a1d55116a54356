"""One HTML page of a run, with all in it: curves, what the network gets wrong, its parameters, the file. Takes a Run, gives text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.passes.settle import settle
from netc.compiler.reference import evaluate
from netc.dsl.quoting import html_attribute, html_lines, html_text, plot_text
from netc.runtime.answers import Answer, answers
from netc.runtime.codes import pictures_of_codes
from netc.runtime.curves import draw
from netc.runtime.data.stored import Array
from netc.runtime.figures import Figure
from netc.runtime.pictures import as_image, cards, drawn, first_of, png, svg_of
from netc.runtime.run import Run

_WORST = 24
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #3b82c4; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
p.sub { margin-top: 0; opacity: .75; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
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
    yield f"<h2>The file</h2><pre>{html_lines(run.model.source.text)}</pre>"


def _part(run: Run) -> str | None:
    """The part of the data that is looked at; None if the run keeps none."""
    if run.model.data is None:
        return None
    parts = run.load_data().parts
    return next(name for name in ("test", "valid", "train") if name in parts)


def _figures(part: str, found: Mapping[str, Figure]) -> str:
    cells = "".join(
        f"<td>{value:.4g}<small>{part} {html_text(name)}</small></td>"
        for name, value in found.items()
        if isinstance(value, float) and "watch." not in name
    )
    return f'<table class="figures"><tr>{cells}</tr></table>'


def _curves(metrics: Sequence[Mapping[str, Figure]]) -> str:
    return svg_of(draw(metrics).decode())


# ------------------------------------------------------------------ answers


def _answers(run: Run, part: str) -> Iterator[str]:
    for one in answers(run, part):
        if one.labels:
            yield f"<h2>{html_text(one.target)}: true (rows) and predicted (columns), {part}</h2>{_confusion(one)}"
        else:
            yield f'<h2>{html_text(one.target)}: predicted against true, {part}</h2><div class="wide">{_scatter(one)}</div>'
        yield f"<h2>The worst mistakes, {html_text(one.target)}</h2>{_worst(run, part, one)}"


def _confusion(answer: Answer) -> str:
    size = len(answer.labels)
    table = np.zeros((size, size), int)
    np.add.at(table, (answer.true, answer.given), 1)
    shown = [f"<tr><td></td>{''.join(f'<th>{html_text(label)}</th>' for label in answer.labels)}</tr>"]
    for i, row in enumerate(table):
        cells = "".join(
            f'<td style="background: color-mix(in srgb, {"#2e9e5b" if i == j else "#d0453e"} {_shade(count, row.sum())}%, transparent)">{count or ""}</td>'
            for j, count in enumerate(row.tolist())
        )
        shown.append(f"<tr><th>{html_text(answer.labels[i])}</th>{cells}</tr>")
    return f'<div class="wide"><table class="matrix">{"".join(shown)}</table></div>'


def _shade(count: int, of: int) -> int:
    return round(75 * (count / of) ** 0.5) if count else 0


def _scatter(answer: Answer) -> str:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5, 4.5), layout="constrained")
    axes = picture.add_subplot()
    both = [min(answer.true.min(), answer.given.min()), max(answer.true.max(), answer.given.max())]
    axes.plot(both, both, color="0.7", linewidth=1)
    axes.scatter(answer.true, answer.given, s=14, alpha=0.6, rasterized=len(answer.true) > 5000)
    axes.set(xlabel=plot_text(f"true {answer.target}"), ylabel=plot_text(f"predicted ({answer.output})"))
    return drawn(picture, "32rem")


def _worst(run: Run, part: str, answer: Answer) -> str:
    dataset = run.load_data()
    order = np.argsort(-answer.wrong, kind="stable")[:_WORST]
    is_class = bool(answer.labels)
    if is_class:
        order = order[answer.given[order] != answer.true[order]]
    if not len(order):
        return "<p>None.</p>"

    def told(value: Any) -> str:
        return html_text(answer.labels[int(value)]) if is_class else f"{float(value):.4g}"

    rows = dataset.rows[part]
    image = next((one for name in run.model.inputs if (one := as_image(dataset.parts[part][name])) is not None), None)
    if image is not None:
        shown = "".join(
            f"<figure><img alt={html_attribute(f'row {rows[i]}')} src={html_attribute(png(image[i]))}><br>{told(answer.true[i])}, taken for {told(answer.given[i])}</figure>"
            for i in order
        )
        return f'<div class="cards">{shown}</div>'
    head = f"<tr><th>row</th><th>true</th><th>predicted</th><th>{'chance of the true one' if is_class else 'off by'}</th></tr>"
    body = "".join(
        f"<tr><td>{rows[i]}</td><td>{told(answer.true[i])}</td><td>{told(answer.given[i])}</td>"
        f"<td>{1 - answer.wrong[i] if is_class else answer.wrong[i]:.3g}</td></tr>"
        for i in order
    )
    return f"<table>{head}{body}</table>"


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
    made = run.program.predict(chosen, outputs=[output for _, output in alike]) if alike else {}
    for name, output in alike:
        title = f"<h2>{html_text(name)}, and beside it {html_text(output)}, {part}</h2>"
        images = None if run.model.inputs[name].is_varying else as_image(chosen[name])
        if images is not None:
            again = np.clip(np.asarray(made[output]), 0, None).reshape(images.shape)
            pairs = [png(np.concatenate([one, other], axis=1)) for one, other in zip(images, again, strict=True)]
            yield f"{title}{cards(pairs, 168)}"
        elif len(run.model.inputs[name].sample) <= 2:
            yield f'{title}<div class="wide">{_lines(chosen[name], made[output])}</div><p>Thin: the input. Thick: what comes out. A colour a channel.</p>'


def _lines(given: Sequence[Array], made: Sequence[Array]) -> str:
    """A few samples [step] or [step, channel], their first channels as lines."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 4.2), layout="constrained")
    for i, (one, other) in enumerate(zip(given[:_DRAWN], made[:_DRAWN], strict=True), 1):
        axes = picture.add_subplot(2, _DRAWN // 2, i)
        for channel in range(min(_CHANNELS, one.reshape(len(one), -1).shape[1])):
            for values, width, alpha in ((one, 0.8, 1.0), (other, 2.2, 0.5)):
                axes.plot(
                    values.reshape(len(values), -1)[:, channel], color=f"C{channel}", linewidth=width, alpha=alpha
                )
    return drawn(picture, "60rem")


_DRAWN, _CHANNELS = 6, 4
_PAIRS = 16
_MOST_MAPS = 32


def _first_layer(run: Run, part: str) -> Iterator[str]:
    """The kernels that the first convolution learned, and what it makes of one sample: a map a kernel."""
    graph = run.model.graph
    first = next(
        (one for one in graph.values("conv2d") if one.operands[1].operation == "parameter" and one.type.is_batched),
        None,
    )
    if first is None:
        return
    weights = run.program.parameters[str(first.operands[1].attributes["name"])]
    kernels = weights.mean(axis=2) if weights.shape[2] not in (1, 3) else weights
    pictures = [png(kernels[..., n], centred=True) for n in range(min(kernels.shape[-1], _MOST_MAPS))]
    yield f"<h2>The kernels of the first convolution, line {first.span.line}</h2>{cards(pictures)}"
    inner = settle(graph.subgraph({"map": first})[0], training=False)
    fields = run.load_data().parts[part]
    names = [str(leaf.attributes["name"]) for leaf in inner.values("input")]
    sample = {name: np.asarray(first_of(fields[name])) for name in names}
    maps = evaluate(inner, {**run.program.persistent, **sample}, 1)["map"][0]
    image = next((one for name in names if (one := as_image(sample[name])) is not None), None)
    shown = [png(image[0])] if image is not None else []
    shown += [png(maps[..., n]) for n in range(min(maps.shape[-1], _MOST_MAPS))]
    row = run.load_data().rows[part][0]
    yield f"<h2>What they make of row {row} of {part}</h2>{cards(shown)}"


def _parameters(run: Run) -> str:
    rows = "".join(
        f"<tr><td>{html_text(name)}</td><td>{list(array.shape)}</td><td>{array.size:,}</td><td>{array.mean():.3g}</td>"
        f"<td>{array.std():.3g}</td><td>{array.min():.3g}</td><td>{array.max():.3g}</td></tr>"
        for name, array in run.program.parameters.items()
    )
    head = "<tr><th>name</th><th>shape</th><th>count</th><th>mean</th><th>std</th><th>least</th><th>largest</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div>'
