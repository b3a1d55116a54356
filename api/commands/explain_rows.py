"""`netc explain RUN DATA`: how much each column, word or pixel of a row contributes to a run's prediction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netc.commands.predicting import Selection, new_data, say_problems
from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.runtime.insight.attributions import Explainer
    from netc.runtime.insight.explained import Explained, Pixels, Steps, Words
    from netc.runtime.runs.run import Run

_ROWS = 3  # that are explained unless one is asked for
_LISTED = 20  # columns, words or steps of a row
_BAR = 20  # characters of the longest bar
_OF_STEPS = "an output with numbers for each step is not explained, only one for the whole sample"
_GRID = 8  # rows and columns of a picture that is printed


def explain_rows(
    run: Path, data: Path, output: str | None, row: int | None, out: Path | None, threads: int | None
) -> None:
    """Prints the explanations of the first rows of a data file, or of one row, or writes them as a page to `out`."""
    import netc
    from netc.runtime.insight.cells import cells_of
    from netc.runtime.insight.explained import explained

    opened = netc.open(run, threads)
    explainer = _explainer(opened, output)
    new = new_data(opened, data, Selection())
    numbers = new.table.numbers(new.rows[new.used]).tolist()
    samples = [*range(len(numbers))][:_ROWS] if row is None else [_sample_of(row, numbers)]
    cells = cells_of(opened, new.table, new.rows[new.used[samples]])
    explanations = {}
    for sample, texts in zip(samples, cells.texts, strict=True):
        named = dict(zip(cells.columns, texts, strict=True))
        attributed = explainer.explain(new.fields, sample)
        explanations[numbers[sample]] = explained(opened, attributed, new.fields, sample, named)
    if out is not None:
        _write_page(opened, data, explanations, out)
        say(str(out))
    else:
        for number, explanation in explanations.items():
            _show(number, explanation)
    say_problems(new)


def _sample_of(row: int, numbers: Sequence[int]) -> int:
    """The index of a row of the file among the usable ones. Raises BadParameter (exit status 2) if it is none."""
    if row not in numbers:
        import typer

        header = ", since the header is line 1" if numbers[0] > 1 else ""
        fact = f"the rows of the data are {numbers[0]} to {numbers[-1]}{header}"
        raise typer.BadParameter(fact, param_hint="--row")
    return numbers.index(row)


def _explainer(run: "Run", output: str | None) -> "Explainer":
    """The explainer of an output. Raises BadParameter (exit status 2) for one that cannot be explained."""
    import typer

    from netc.commands import options
    from netc.runtime.insight.attributions import Explainer, explained_output, may_be_explained

    if output is None:
        output = explained_output(run.model)
        if output is None:
            names = ", ".join(name for name in run.model.outputs if may_be_explained(run.model, name))
            fact = f"no output compares with a target: name one of {names}" if names else _OF_STEPS
            raise typer.BadParameter(fact, param_hint="--output")
    options.known_values(run.model, [output])
    if not may_be_explained(run.model, output):
        is_of_steps = run.model.values[output].type.is_varying
        fact = _OF_STEPS if is_of_steps else f"`{output}` is not one number or one row of floats a sample"
        raise typer.BadParameter(fact, param_hint="--output")
    try:
        return Explainer(run, output)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--output") from None


def _show(number: int, explanation: "Explained") -> None:
    """Prints the scores of a row, and how much each part of it contributes."""
    from netc.runtime.insight.explained import Pixels

    attributed = explanation.attributed
    score = f"{attributed.output} {attributed.score:.4g}"
    predicted = score if explanation.predicted == score else f"{explanation.predicted}; {score}"
    say(f"row {number}: {predicted}, at the baseline {attributed.baseline:.4g}")
    parts = [(share.name, share.cell, share.value) for share in explanation.shares]
    _show_parts(("column", "cell", "part"), parts)
    for part in explanation.parts:
        if isinstance(part, Pixels):
            _show_grid(part)
        else:
            _show_parts(("step", part.name, "part"), _rows_of(part))
    say()


def _rows_of(part: "Words | Steps") -> list[tuple[str, str, float]]:
    from netc.runtime.insight.explained import Words

    words = part.words if isinstance(part, Words) else [""] * len(part.values)
    return [
        (str(step), word, value) for step, (word, value) in enumerate(zip(words, part.values.tolist(), strict=True))
    ]


def _show_parts(heads: tuple[str, str, str], parts: list[tuple[str, str, float]]) -> None:
    """Prints a row for each part with a bar: `+` for what speaks for the prediction, `-` for what speaks against it."""
    if not parts:
        return
    largest = max(abs(value) for _, _, value in parts) or 1.0
    rows = [
        (name, cell, f"{value:+.3g}", ("+" if value > 0 else "-") * round(_BAR * abs(value) / largest))
        for name, cell, value in parts[:_LISTED]
    ]
    table([(*heads, ""), *rows], right=(2,))
    if len(parts) > _LISTED:
        say(f"... and {len(parts) - _LISTED:,} more")


def _show_grid(part: "Pixels") -> None:
    """Prints the sums of a picture's attributions in a coarse grid."""
    import numpy as np

    height, width = part.values.shape
    down, across = (np.arange(size) * _GRID // max(size, _GRID) for size in (height, width))
    grid = np.zeros((int(down[-1]) + 1, int(across[-1]) + 1))
    np.add.at(grid, (down[:, None], across[None, :]), part.values)
    say(f"{part.name}: the parts of {grid.shape[0]} x {grid.shape[1]} regions")
    table([[f"{value:+.3f}" for value in row] for row in grid.tolist()], right=range(grid.shape[1]))


def _write_page(run: "Run", data: Path, explanations: "Mapping[int, Explained]", out: Path) -> None:
    from netc.runtime.insight.explanations import METHOD, explained_sections
    from netc.runtime.insight.pages import page_html
    from netc.runtime.insight.sections import Heading, Paragraph, Section
    from netc.runtime.runs.checkpoint import write_whole

    sections: list[Section] = [Paragraph(METHOD)]
    for number, explanation in explanations.items():
        sections += [Heading(f"Row {number}: {explanation.predicted}"), *explained_sections(explanation)]
    write_whole(out, page_html(run.model.source.file_name, f"{data.name}, explained", sections).encode())
