"""`netc diagnose RUN`: a run's gradients in numbers, a picture and sentences."""

from typing import TYPE_CHECKING

from netc.commands import options
from netc.commands.quantities import number
from netc.commands.terminal import say, show_diagnostics, table

if TYPE_CHECKING:
    from netc.runtime.insight.diagnose import Diagnosed

_FEW = "and no layer has more dead or saturated units than it can do without"
_OF_WEIGHTS = "norms: the gradient of a weight, the weight itself, and their ratio, similar in layers that learn alike"
_BACK = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def diagnose(run: options.RunFolder, plugins: options.Plugins = None, threads: options.Threads = None) -> None:
    """Find gradients that vanish or explode, by time step and by layer, and units that are dead or saturated.
    Writes RUN/gradients.svg.

    Example: netc diagnose runs/japanese_vowels
    """
    import netc
    from netc.runtime.insight.diagnose import diagnose as measure
    from netc.runtime.insight.diagnose import draw
    from netc.runtime.runs.checkpoint import write_whole

    opened = netc.open(run, threads)
    diagnosis = measure(opened)
    tables(diagnosis)
    write_whole(opened.folder / "gradients.svg", draw(diagnosis, opened.model.source.file_name))
    say(str(opened.folder / "gradients.svg"))
    say()
    if not diagnosis.findings:
        stuck = any(units.stuck for units in diagnosis.units)
        say(
            "nothing to change: no gradient vanishes or explodes, "
            + (_FEW if stuck else "no unit is dead or saturated")
        )
    show_diagnostics(diagnosis.findings)


def tables(diagnosis: "Diagnosed") -> None:
    """Prints the gradients by step and by layer, and the layers that have dead or saturated units."""
    if diagnosis.reaches:
        longest = max(len(reach.sizes) for reach in diagnosis.reaches)
        back = [k for k in _BACK if k < longest - 1] + [longest - 1]
        say("the gradient of a state, by the number of steps back from a sample's last step")
        heads = ["line", "state", *map(str, back)]
        rows = [
            [
                str(reach.span.line),
                reach.name,
                *(number(float(reach.sizes[k])) if k < len(reach.sizes) else "" for k in back),
            ]
            for reach in diagnosis.reaches
        ]
        table([heads, *rows], right=range(2, len(heads)))
        say()
    if diagnosis.layers:
        weights = [
            [str(layer.span.line), layer.name, number(layer.gradient), number(layer.weight), number(layer.relative)]
            for layer in diagnosis.layers
        ]
        say(_OF_WEIGHTS)
        table([["line", "weight", "gradient", "itself", "ratio"], *weights], right=(2, 3, 4))
        say()
    stuck = [units for units in diagnosis.units if units.stuck]
    if stuck:
        rows = [[str(units.span.line), units.operation, f"{units.count:,}", f"{units.stuck:,}"] for units in stuck]
        say("units through which hardly any gradient passes: dead (always 0) or saturated (at an end of their range)")
        table([["line", "activation", "units", "dead or saturated"], *rows], right=(2, 3))
        say()
