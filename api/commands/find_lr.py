"""`netc train M.net --find-lr`: a short training with a rising rate, its curve, and the rates to try."""

from pathlib import Path
from typing import TYPE_CHECKING

from netc.commands import options
from netc.commands.launched import Launched
from netc.commands.progress import Ticker
from netc.commands.quantities import number
from netc.commands.terminal import say, table

if TYPE_CHECKING:
    from netc.runtime.studies.rate_test import RateTest

_ROWS = 12  # of the printed table


def find_lr(
    file: Path, settings: list[str] | None, out: Path | None, strict: bool, threads: int | None, launched: Launched
) -> None:
    """Prints rates with their losses and what to try, and draws the curve to `out`, or to NAME-lr.svg."""
    import typer

    from netc.compiler.passes.optimizers import OPTIMIZERS
    from netc.runtime.data.block.spec import parse_data
    from netc.runtime.data.dataset import load
    from netc.runtime.insight.curves import draw_rates
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.studies.rate_test import rate_test

    model, _ = options.load(file, settings, strict)
    optimizer = model.train.optimizer.name
    if OPTIMIZERS[optimizer].searches:
        raise typer.BadParameter(f"`{optimizer}` finds the length of its steps by itself", param_hint="--find-lr")
    with Ticker(launched.ranks is not None) as ticker:
        ticker.doing("reading the data")
        with launched.reading():
            dataset = load(model, parse_data(model))
        options.warn(dataset.warnings, strict)
        launched.share(dataset)
        ticker.doing("testing learning rates")
        result = rate_test(model, dataset, launched.threads(threads), ranks=launched.ranks)
    _show(result)
    path = launched.output_path(out or Path(f"{file.stem}-lr.svg"))
    write_whole(path, draw_rates(result.rates, result.losses, result.means, result.steepest))
    say(str(path))


def _show(test: "RateTest") -> None:
    count = len(test.rates)
    chosen = sorted({round(i * (count - 1) / (_ROWS - 1)) for i in range(_ROWS)})
    rows = [("lr", "loss", "running mean")]
    rows += [(number(float(test.rates[i])), number(test.losses[i]), number(test.means[i])) for i in chosen]
    table(rows, right=range(3))
    say(f"the loss falls fastest at lr = {test.steepest:.1g}, and is least at lr = {test.least:.1g}")
    lowest, highest = (f"{rate:.1g}" for rate in test.advised)
    say(f"try lr = {lowest}" if lowest == highest else f"try lr = {lowest} to {highest}")
