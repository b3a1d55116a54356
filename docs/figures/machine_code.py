"""The figures of the chapter on machine code."""

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .scheme import BLUE, BLUE_FILL, GREEN, GREEN_FILL, GREY, GREY_FILL, INK, ORANGE, ORANGE_FILL
from .style import arrow, figure, picture

PROFILE = Path(__file__).parent / "data" / "profile_mnist.txt"  # measured; its first line says when and where
STAGES = (
    ("text", "mnist.net, 25 lines", GREY_FILL, GREY),
    ("graph", "one value for each operation,\nwith its shape and its line", BLUE_FILL, BLUE),
    ("gradients, optimizer", "more operations\nof the same kind", BLUE_FILL, BLUE),
    ("kernels", "values that share a loop;\nproducts with a register tile", GREEN_FILL, GREEN),
    ("plan", "phases, threads,\naddresses in memory", GREEN_FILL, GREEN),
    ("machine code", "vector instructions\nof this CPU", ORANGE_FILL, ORANGE),
)
NAMES = {  # kernels of the profile, by their name and type, and where their label stands
    ("cast multiply", "f32[batch, 784]"): ("read and scale the pictures", (7, -3)),
    ("einsum add", "f32[batch, 128]"): ("product of layer 1, forwards", (-4, 7)),
    ("einsum", "f32[784, 128]"): ("weight gradient of layer 1", (-60, -14)),
    ("multiply add sqrt divide subtract", "f32[784, 128]"): ("Adam, weights of layer 1", (30, -42)),
    ("relu", "f32[batch, 128]"): ("relu", (-26, -3)),
    ("einsum add", "f32[batch, 10]"): ("product of layer 2, forwards", (7, -8)),
}


@picture
def stages() -> Figure:
    """The stages between a `.net` file and machine code."""
    canvas, ((panel,),) = figure(6.4, 2.9)
    for i, (name, text, fill, edge) in enumerate(STAGES):
        x, y = 2.35 * (i % 3), -1.55 * (i // 3)
        box = FancyBboxPatch((x, y), 1.9, 1, boxstyle="round,pad=0,rounding_size=0.08", facecolor=fill, edgecolor=edge)
        panel.add_patch(box)
        panel.text(x + 0.95, y + 0.75, name, ha="center", va="center", fontweight="bold", color=INK)
        panel.text(x + 0.95, y + 0.33, text, ha="center", va="center", fontsize=8, color=INK)
        if i % 3 < 2:
            arrow(panel, (x + 1.93, y + 0.5), (x + 2.32, y + 0.5), head=10)
    arrow(panel, (5.65, -0.03), (0.95, -0.52), head=10)
    panel.set(xlim=(-0.05, 6.65), ylim=(-1.6, 1.05))
    panel.axis("off")
    return canvas


@picture
def roofline() -> Figure:
    """The bounds of one core and the kernels of a training step, as recorded from `netc profile`."""
    lines = PROFILE.read_text(encoding="utf-8").splitlines()
    bounds = " ".join(lines[-3:])
    peak = float(re.findall(r"([\d.]+) GFLOP/s in f32", bounds)[0])
    canvas, ((panel,),) = figure(6.4, 3.8)
    intensity = np.geomspace(0.03, 100, 200)
    panel.axhline(peak, color=INK, linewidth=1.2)
    panel.text(0.033, peak * 1.12, f"arithmetic: {peak:.0f} GFLOP/s", color=INK, fontsize=8)
    for name, style in (("first cache", ":"), ("second cache", "-."), ("last cache", "--"), ("memory", "-")):
        width = float(re.findall(rf"{name} ([\d.]+)", bounds)[0])
        slope = intensity[intensity * width <= peak]
        panel.loglog(slope, slope * width, style, color=GREY, linewidth=1.2, label=f"{name}: {width:.0f} GB/s")
    for line in lines[2:]:
        cells = re.split(r" {2,}", line.strip())
        label = NAMES.get((cells[1], cells[2])) if len(cells) > 8 else None
        if label is None:
            continue
        flops, bytes_ = float(cells[-2]), float(cells[-1])
        name, offset = label
        panel.scatter(flops / bytes_, flops, color=BLUE if "layer" in name else ORANGE, zorder=3, s=26)
        line_to_label = {"arrowstyle": "-", "color": GREY} if name.startswith("Adam") else None
        panel.annotate(name, (flops / bytes_, flops), offset, textcoords="offset points", fontsize=8, color=INK,
                       arrowprops=line_to_label)  # fmt: skip
    panel.set(xlabel="FLOPs per byte read or written", ylabel="GFLOP/s", xlim=(0.03, 100), ylim=(0.8, 230))
    panel.legend(fontsize=8, loc="lower right")
    return canvas
