"""The pictures of the course: `python docs/pictures.py [NAME ...]` trains what they show and writes docs/pictures/NAME.svg. All of them take some minutes.

Each function gives a matplotlib figure or an SVG; its name is the picture's.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import netc
from netc.compiler.outline import outline_of
from netc.runtime.insight.diagnose import diagnose
from netc.runtime.insight.drawing.figure import picture

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
BLUE, ORANGE, GREEN, GREY = "#2563eb", "#ea7317", "#16a34a", "#94a3b8"
rcParams.update({"svg.hashsalt": "netc", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def trained(name: str, epochs: int | None = None, **constants: Any) -> netc.Run:
    """A run of an example, in a folder that is gone with the process."""
    folder = Path(tempfile.mkdtemp()) / name
    return netc.train(netc.load(EXAMPLES / f"{name}.net", **constants), out=folder, epochs=epochs, overrides=constants)


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(made)
    return made, made.subplots(rows, columns, squeeze=False)


def neuron() -> Figure:
    """The chance that the neuron gives to each point of the plane, for a gate that it can learn and one that it cannot."""
    made, axes = figure(6.4, 3, 1, 2)
    side = np.linspace(-0.4, 1.4, 120, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    for panel, gate in zip(axes[0], ("and", "xor"), strict=True):
        run = trained("neuron", gate=gate)
        chance = run.predict({"inputs": np.stack([x, y], -1).reshape(-1, 2)})["chance"].reshape(x.shape)
        panel.contourf(x, y, chance, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.contour(x, y, chance, [0.5], colors="black", linewidths=1)
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        answers = [a & b if gate == "and" else a ^ b for a, b in corners]
        panel.scatter(*corners.T, c=answers, cmap="RdBu", edgecolors="black", s=70, zorder=3)
        panel.set(title=f"a {gate} b", xlabel="a", ylabel="b", xticks=[0, 1], yticks=[0, 1])
    return made


def line() -> Figure:
    """The bowl of the error, and the way down it with three steps."""
    data = trained("line", 1).load_data().parts["train"]
    weight, mpg = np.asarray(data["weight"]), np.asarray(data["mpg"])
    made, ((bowl, curves),) = figure(7, 3.2, 1, 2)
    slopes, offsets = np.meshgrid(np.linspace(-2.2, 0.7, 80), np.linspace(-1.3, 1.3, 80))
    error = ((slopes[..., None] * weight + offsets[..., None] - mpg) ** 2).mean(-1)
    bowl.contour(slopes, offsets, error, 16, colors=GREY, linewidths=0.7)
    for step, colour in ((0.02, GREEN), (0.4, BLUE), (1.05, ORANGE)):
        way, place = [], np.array([0.0, 0.6])
        for _ in range(60):
            way.append(place.copy())
            miss = place[0] * weight + place[1] - mpg
            place -= step * 2 * np.array([(miss * weight).mean(), miss.mean()])
        losses = [((a * weight + b - mpg) ** 2).mean() for a, b in way]
        shown = np.array(way[:12] if step > 1 else way)
        bowl.plot(*shown.T, ".-", color=colour, linewidth=1, label=f"step {step}")
        curves.semilogy(losses, color=colour, label=f"step {step}")
    bowl.set(xlabel="slope", ylabel="offset", title="the bowl, from above", xlim=(-2.2, 0.7), ylim=(-1.3, 1.3))
    curves.set(xlabel="epoch", ylabel="loss", title="how the loss goes")
    curves.legend()
    return made


def rings() -> Figure:
    """Which ring each point is taken for, with a function between the layers and without."""
    made, axes = figure(6.4, 3.2, 1, 2)
    side = np.linspace(-3, 3, 160, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    for panel, bent in zip(axes[0], (True, False), strict=True):
        run = trained("rings", bent=bent)
        likely = run.predict({"point": np.stack([x, y], -1).reshape(-1, 2)})["probability"][:, 1].reshape(x.shape)
        test = run.load_data().parts["test"]
        points, labels = np.asarray(test["point"]), np.asarray(test["ring"])
        panel.contourf(x, y, likely, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.scatter(*points.T, c=labels, cmap="RdBu", edgecolors="black", linewidths=0.4, s=14)
        reach = 1.15 * float(np.abs(points).max())
        panel.set(
            title="with tanh" if bent else "without", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[]
        )
    return made


def regression() -> Figure:
    """Predicted against true miles per gallon, on the test part."""
    run = trained("cars")
    test = run.load_data().parts["test"]
    name = next(iter(run.model.outputs))
    target = next(iter(run.model.targets))
    said, true = run.predict(test)[name], run.undone()[target](np.asarray(test[target]))
    made, ((panel,),) = figure(3.6, 3.4)
    low, high = float(true.min()) - 2, float(true.max()) + 2
    panel.plot([low, high], [low, high], color=GREY, linewidth=1)
    panel.scatter(true, said, s=14, color=BLUE, alpha=0.7)
    panel.set(xlabel="true miles per gallon", ylabel="predicted")
    return made


def classification() -> Figure:
    """Four digits of the test part, and how likely the network finds each class."""
    run = trained("digits8x8", 20)
    test = run.load_data().parts["test"]
    images = np.asarray(test["image"])
    chances = run.predict(test)["probability"]
    order = np.argsort(chances.max(1))
    chosen = [*order[-2:], *order[:2]]  # two that it is sure of, two that it is not
    made, axes = figure(6.4, 2.8, 2, 4)
    for column, i in enumerate(chosen):
        axes[0][column].imshow(images[i].reshape(8, 8), cmap="gray_r")
        axes[0][column].axis("off")
        axes[1][column].bar(range(10), chances[i], color=BLUE)
        axes[1][column].set(ylim=(0, 1), xticks=range(10), yticks=[0, 1] if column == 0 else [])
    return made


def overfitting() -> Figure:
    """The losses of what was seen and of what was not, with and without weight decay."""
    made, axes = figure(6.4, 2.8, 1, 2)
    for panel, decay in zip(axes[0], (0, 1), strict=True):
        metrics = trained("overfitting", decay=decay).metrics
        for part, colour in (("train", BLUE), ("valid", ORANGE)):
            panel.plot([row[f"{part}.loss"] for row in metrics], color=colour, label=part)
        panel.set(title=f"decay = {decay}", xlabel="epoch", ylim=(0, 1))
    axes[0][0].set(ylabel="loss")
    axes[0][0].legend()
    return made


def convolution() -> Figure:
    """A digit, the eight kernels that were learned, and what each makes of it."""
    run = trained("digits_conv")
    kernels = next(array for array in run.program.parameters.values() if array.ndim == 4)
    image = np.asarray(run.load_data().parts["test"]["image"])[3]
    whole = np.pad(image[..., 0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(whole, kernels.shape[:2])
    maps = np.einsum("hwij,ijn->nhw", windows, kernels[:, :, 0])
    made, axes = figure(7, 1.9, 2, 9)
    axes[0][0].imshow(image[..., 0], cmap="gray_r")
    axes[0][0].set_title("a digit", fontsize=8)
    axes[1][0].text(0.5, 0.5, "kernels above,\nwhat they make\nof it below", ha="center", va="center", fontsize=7)
    reach = float(np.abs(kernels).max())
    for n in range(8):
        axes[0][n + 1].imshow(kernels[:, :, 0, n], cmap="RdBu", vmin=-reach, vmax=reach)
        axes[1][n + 1].imshow(np.maximum(maps[n], 0), cmap="gray_r")
    for panel in axes.flat:
        panel.axis("off")
    return made


def recurrence() -> Figure:
    """The sunspots of each year of the test part, and what the network said the year before."""
    run = trained("sunspots")
    test = run.load_data().parts["test"]
    said, true = run.predict(test)["spots"], run.undone()["following"](np.asarray(test["following"]))
    made, ((panel,),) = figure(6.4, 2.6)
    panel.plot(true, color=GREY, label="true", linewidth=2)
    panel.plot(said, color=BLUE, label="said a year before")
    panel.set(xlabel="year of the test part", ylabel="sunspots")
    panel.legend()
    return made


def vanishing() -> Figure:
    """How much of the gradient comes back to each step, in a plain recurrent network and in an LSTM."""
    made, ((panel,),) = figure(5.6, 2.8)
    for cell, colour in (("rnn", ORANGE), ("lstm", BLUE)):
        reaches = diagnose(trained("adding", cell=cell)).reaches
        sizes = max((one.sizes for one in reaches), key=lambda one: one[-1])  # of an LSTM the cell
        panel.semilogy(np.where(sizes > 0, sizes, np.nan) / sizes[0], color=colour, label=cell)
    panel.set(xlabel="steps back from the end", ylabel="gradient of the state,\nof that at the end")
    panel.legend()
    return made


def autoencoder() -> Figure:
    """Digits, and what comes back of them through 32 numbers; below, digits of noise by a variational one."""
    run, free = trained("autoencoder", 8), trained("variational", 6)
    test = run.load_data().parts["test"]
    images = np.asarray(test["image"])[:10].reshape(10, -1)
    back = run.predict({"image": np.asarray(test["image"])[:10]})["again"]
    drawn = np.random.default_rng(4).standard_normal((10, 20)).astype(np.float32)
    made_up = free.program.predict({"code": drawn})["again"]
    made, axes = figure(6.4, 2.1, 3, 10)
    for row, pictures in enumerate((images, back, made_up)):
        for panel, one in zip(axes[row], pictures, strict=True):
            panel.imshow(one.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            panel.axis("off")
    return made


def oscillator() -> Figure:
    """What the network found, the exact motion, and how far apart they are."""
    run = trained("oscillator")
    t = np.linspace(0, 6, 400, dtype=np.float32)
    found = run.predict({next(iter(run.model.inputs)): t})
    said = found[next(iter(run.model.outputs))].ravel()
    rate = np.sqrt(2 - 0.04)
    exact = np.exp(-0.2 * t) * (np.cos(rate * t) + 0.2 / rate * np.sin(rate * t))
    made, axes = figure(6.4, 2.6, 1, 2)
    axes[0][0].plot(t, exact, color=GREY, linewidth=4, label="exact")
    axes[0][0].plot(t, said, color=BLUE, label="the network")
    axes[0][0].legend()
    axes[0][0].set(xlabel="t", ylabel="u(t)")
    axes[0][1].plot(t, said - exact, color=ORANGE)
    axes[0][1].set(xlabel="t", title="the difference")
    return made


def language() -> Figure:
    """How likely each next letter of a sentence seemed, after two passes over the novel."""
    run = trained("moby_dick", 2)
    known = list(run.states["letter"][1]["tokens"])
    sentence = "the white whale swam before him as the incarnation of all those"
    codes = np.array([known.index(one) for one in sentence], np.int32)
    likely = run.predict({"letter": [codes]})["likely"][0]
    chances = [0.0, *(likely[i, codes[i + 1]] for i in range(len(codes) - 1))]
    made, ((panel,),) = figure(7, 2)
    panel.bar(range(len(sentence)), chances, color=[GREY if one == " " else BLUE for one in sentence])
    panel.set(
        xticks=range(len(sentence)), xticklabels=list(sentence.replace(" ", "_")), ylim=(0, 1), ylabel="probability"
    )
    return made


def attention() -> Figure:
    """Which letters the writer looks at for each sound of a word."""
    run = trained("cmudict", 3)
    model = run.model
    letters = list(run.states["word"][1]["tokens"])
    sounds = list(run.states["phones"][-1]["tokens"])
    word = "photograph"
    given = {"word": [np.array([letters.index(one) for one in word], np.int32)]}
    said = np.asarray(run.predict(given)["phones_said"][0])
    said = said[: 1 + [sounds[i] for i in said].index("<end>")]
    fields = {**given, "phones": [said.astype(np.int32)]}
    found = run.program.predict(fields, outputs=["hs", "keys"])
    hs, keys = found["hs"][0], found["keys"][0]
    scores = hs @ keys.T / np.sqrt(keys.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    assert model.outputs
    made, ((panel,),) = figure(4.2, 3.4)
    panel.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    panel.set(
        xticks=range(len(word)), xticklabels=list(word), yticks=range(len(said)), yticklabels=[sounds[i] for i in said]
    )
    panel.set(xlabel="letters", ylabel="sounds")
    return made


def _shown(path: Path, unfold: int) -> bytes:
    """As `netc show`."""
    model = netc.load(path)
    return picture(outline_of(model), model, "svg", unfold)


def backprop() -> bytes:
    return _shown(EXAMPLES / "iris.net", 0)


def residual() -> bytes:
    return _shown(EXAMPLES / "resnet.net", 0)


def gates() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.net"
        path.write_text(
            "model {\n  input x: float[time, 3]\n  h, c = lstm(x, 4)\n  output y = last(h)\n}\n", encoding="utf-8"
        )
        return _shown(path, 3)


PICTURES: dict[str, Callable[[], Figure | bytes]] = {
    one.__name__: one
    for one in (
        neuron,
        line,
        backprop,
        rings,
        regression,
        classification,
        overfitting,
        convolution,
        residual,
        recurrence,
        vanishing,
        gates,
        language,
        autoencoder,
        attention,
        oscillator,
    )
}


def main() -> None:
    (HERE / "pictures").mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        made, path = PICTURES[name](), HERE / "pictures" / f"{name}.svg"
        if isinstance(made, bytes):
            path.write_bytes(made)
        else:
            made.savefig(path, format="svg", metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main()
