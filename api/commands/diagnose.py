"""`netc diagnose RUN`: what becomes of a run's gradients, in numbers, a picture and sentences."""

from typing import TYPE_CHECKING

from netc.commands import options
from netc.commands.terminal import number, say, show_diagnostics, table

if TYPE_CHECKING:
    from netc.runtime.insight.diagnose import Diagnosed

_BACK = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def diagnose(run: options.RunFolder, plugins: options.Plugins = None) -> None:
    """Say where gradients vanish or explode, by time step and by layer, and which units are dead or saturated; writes RUN/gradients.svg.

    Example: netc diagnose runs/japanese_vowels
    """
    import netc
    from netc.runtime.insight.diagnose import diagnose as measure
    from netc.runtime.insight.diagnose import draw
    from netc.runtime.runs.checkpoint import write_whole

    opened = netc.open(run)
    found = measure(opened)
    tables(found)
    write_whole(opened.folder / "gradients.svg", draw(found, opened.model.source.file_name))
    say(str(opened.folder / "gradients.svg"))
    say()
    if not found.findings:
        say("nothing found: no gradient vanishes or explodes, no layer has many dead or saturated units")
    show_diagnostics(found.findings)


def tables(found: "Diagnosed") -> None:
    """The gradients by step and by layer, and the layers that have dead or saturated units."""
    if found.reaches:
        longest = max(len(one.sizes) for one in found.reaches)
        back = [k for k in _BACK if k < longest - 1] + [longest - 1]
        say("the gradient of a state, so many steps back from a sample's last one")
        heads = ["line", "state", *map(str, back)]
        rows = [
            [str(one.span.line), one.name, *(number(float(one.sizes[k])) if k < len(one.sizes) else "" for k in back)]
            for one in found.reaches
        ]
        table([heads, *rows], right=range(2, len(heads)))
        say()
    if found.layers:
        weights = [
            [str(one.span.line), one.name, number(one.gradient), number(one.weight), number(one.relative)]
            for one in found.layers
        ]
        table([["line", "weight", "gradient", "itself", "ratio"], *weights], right=(2, 3, 4))
        say()
    stuck = [one for one in found.units if one.stuck]
    if stuck:
        units = [[str(one.span.line), one.operation, f"{one.count:,}", f"{one.stuck:,}"] for one in stuck]
        table([["line", "units", "of them", "dead or saturated"], *units], right=(2, 3))
        say()
