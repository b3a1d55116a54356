"""The pictures of the course: `python docs/pictures.py [NAME ...]` trains the models that they show and writes
docs/pictures/NAME.svg. All of them together take some minutes.

Each function returns a matplotlib figure or an SVG; its name is that of the picture.
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
from netc.compiler.analysis.outline import outline_of
from netc.runtime.insight.diagnose import diagnose
from netc.runtime.insight.drawing.figure import picture

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
BLUE, ORANGE, GREEN, GREY = "#2563eb", "#ea7317", "#16a34a", "#94a3b8"
rcParams.update({"svg.hashsalt": "netc", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def trained(name: str, epochs: int | None = None, **constants: Any) -> netc.Run:
    """Trains an example, in a temporary folder."""
    folder = Path(tempfile.mkdtemp()) / name
    return netc.train(netc.load(EXAMPLES / f"{name}.net", **constants), out=folder, epochs=epochs, overrides=constants)


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    canvas = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(canvas)
    return canvas, canvas.subplots(rows, columns, squeeze=False)


def neuron() -> Figure:
    """The predicted probability at each point of the plane, for a gate that it can learn and one that it cannot."""
    canvas, axes = figure(6.4, 3, 1, 2)
    side = np.linspace(-0.4, 1.4, 120, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    for panel, gate in zip(axes[0], ("and", "xor"), strict=True):
        run = trained("neuron", gate=gate)
        chance = run.predict_prepared({"inputs": np.stack([x, y], -1).reshape(-1, 2)})["chance"].reshape(x.shape)
        panel.contourf(x, y, chance, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.contour(x, y, chance, [0.5], colors="black", linewidths=1)
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        truths = [a & b if gate == "and" else a ^ b for a, b in corners]
        panel.scatter(*corners.T, c=truths, cmap="RdBu", edgecolors="black", s=70, zorder=3)
        panel.set(title=f"a {gate} b", xlabel="a", ylabel="b", xticks=[0, 1], yticks=[0, 1])
    return canvas


def line() -> Figure:
    """The bowl of the error, and the paths down it with three learning rates."""
    data = trained("line", 1).load_data().parts["train"]
    weight, mpg = np.asarray(data["weight"]), np.asarray(data["mpg"])
    canvas, ((bowl, curves),) = figure(7, 3.2, 1, 2)
    slopes, offsets = np.meshgrid(np.linspace(-2.2, 0.7, 80), np.linspace(-1.3, 1.3, 80))
    error = ((slopes[..., None] * weight + offsets[..., None] - mpg) ** 2).mean(-1)
    bowl.contour(slopes, offsets, error, 16, colors=GREY, linewidths=0.7)
    for step, colour in ((0.02, GREEN), (0.4, BLUE), (1.05, ORANGE)):
        path, point = [], np.array([0.0, 0.6])
        for _ in range(60):
            path.append(point.copy())
            miss = point[0] * weight + point[1] - mpg
            point -= step * 2 * np.array([(miss * weight).mean(), miss.mean()])
        losses = [((a * weight + b - mpg) ** 2).mean() for a, b in path]
        shown = np.array(path[:12] if step > 1 else path)
        bowl.plot(*shown.T, ".-", color=colour, linewidth=1, label=f"step {step}")
        curves.semilogy(losses, color=colour, label=f"step {step}")
    bowl.set(xlabel="slope", ylabel="offset", title="the bowl, from above", xlim=(-2.2, 0.7), ylim=(-1.3, 1.3))
    curves.set(xlabel="epoch", ylabel="loss", title="the loss by epoch")
    curves.legend()
    return canvas


def rings() -> Figure:
    """The predicted ring of each point, with a non-linearity between the layers and without."""
    canvas, axes = figure(6.4, 3.2, 1, 2)
    side = np.linspace(-3, 3, 160, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    for panel, bent in zip(axes[0], (True, False), strict=True):
        run = trained("rings", bent=bent)
        likely = run.predict_prepared({"point": np.stack([x, y], -1).reshape(-1, 2)})["probability"][:, 1].reshape(
            x.shape
        )
        test = run.load_data().parts["test"]
        points, labels = np.asarray(test["point"]), np.asarray(test["ring"])
        panel.contourf(x, y, likely, 20, cmap="RdBu", vmin=0, vmax=1, alpha=0.75)
        panel.scatter(*points.T, c=labels, cmap="RdBu", edgecolors="black", linewidths=0.4, s=14)
        reach = 1.15 * float(np.abs(points).max())
        panel.set(
            title="with tanh" if bent else "without", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[]
        )
    return canvas


def regression() -> Figure:
    """Predicted against true miles per gallon, on the test part."""
    run = trained("cars")
    test = run.load_data().parts["test"]
    name = next(iter(run.model.outputs))
    target = next(iter(run.model.targets))
    predicted, true = run.predict_prepared(test)[name], run.undone()[target](np.asarray(test[target]))
    canvas, ((panel,),) = figure(3.6, 3.4)
    low, high = float(true.min()) - 2, float(true.max()) + 2
    panel.plot([low, high], [low, high], color=GREY, linewidth=1)
    panel.scatter(true, predicted, s=14, color=BLUE, alpha=0.7)
    panel.set(xlabel="true miles per gallon", ylabel="predicted")
    return canvas


def classification() -> Figure:
    """Four digits of the test part, and the predicted probability of each class."""
    run = trained("digits8x8", 20)
    test = run.load_data().parts["test"]
    images = np.asarray(test["image"])
    chances = run.predict_prepared(test)["probability"]
    order = np.argsort(chances.max(1))
    chosen = [*order[-2:], *order[:2]]  # two that it is sure of, two that it is not
    canvas, axes = figure(6.4, 2.8, 2, 4)
    for column, i in enumerate(chosen):
        axes[0][column].imshow(images[i].reshape(8, 8), cmap="gray_r")
        axes[0][column].axis("off")
        axes[1][column].bar(range(10), chances[i], color=BLUE)
        axes[1][column].set(ylim=(0, 1), xticks=range(10), yticks=[0, 1] if column == 0 else [])
    return canvas


def overfitting() -> Figure:
    """The losses of training and validation, with and without weight decay."""
    canvas, axes = figure(6.4, 2.8, 1, 2)
    for panel, decay in zip(axes[0], (0, 1), strict=True):
        metrics = trained("overfitting", decay=decay).metrics
        for part, colour in (("train", BLUE), ("valid", ORANGE)):
            panel.plot([row[f"{part}.loss"] for row in metrics], color=colour, label=part)
        panel.set(title=f"decay = {decay}", xlabel="epoch", ylim=(0, 1))
    axes[0][0].set(ylabel="loss")
    axes[0][0].legend()
    return canvas


def convolution() -> Figure:
    """A digit, the eight kernels that were learned, and the output of each for the digit."""
    run = trained("digits_conv")
    kernels = next(array for array in run.program.parameters.values() if array.ndim == 4)
    image = np.asarray(run.load_data().parts["test"]["image"])[3]
    padded = np.pad(image[..., 0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[:2])
    maps = np.einsum("hwij,ijn->nhw", windows, kernels[:, :, 0])
    canvas, axes = figure(7, 1.9, 2, 9)
    axes[0][0].imshow(image[..., 0], cmap="gray_r")
    axes[0][0].set_title("a digit", fontsize=8)
    axes[1][0].text(0.5, 0.5, "above: kernels\nbelow: their\noutputs", ha="center", va="center", fontsize=7)
    reach = float(np.abs(kernels).max())
    for n in range(8):
        axes[0][n + 1].imshow(kernels[:, :, 0, n], cmap="RdBu", vmin=-reach, vmax=reach)
        axes[1][n + 1].imshow(np.maximum(maps[n], 0), cmap="gray_r")
    for panel in axes.flat:
        panel.axis("off")
    return canvas


def recurrence() -> Figure:
    """The sunspots of each year of the test part, and the network's prediction from the years before."""
    run = trained("sunspots")
    test = run.load_data().parts["test"]
    predicted, true = run.predict_prepared(test)["spots"], run.undone()["following"](np.asarray(test["following"]))
    canvas, ((panel,),) = figure(6.4, 2.6)
    panel.plot(true, color=GREY, label="true", linewidth=2)
    panel.plot(predicted, color=BLUE, label="predicted a year before")
    panel.set(xlabel="year of the test part", ylabel="sunspots")
    panel.legend()
    return canvas


def vanishing() -> Figure:
    """How much of the gradient reaches each step, in a plain recurrent network and in an LSTM."""
    canvas, ((panel,),) = figure(5.6, 2.8)
    for cell, colour in (("rnn", ORANGE), ("lstm", BLUE)):
        reaches = diagnose(trained("adding", cell=cell)).reaches
        sizes = max((reach.sizes for reach in reaches), key=lambda sizes: sizes[-1])  # the cell of an LSTM
        panel.semilogy(np.where(sizes > 0, sizes, np.nan) / sizes[0], color=colour, label=cell)
    panel.set(xlabel="steps back from the end", ylabel="gradient of the state,\nof that at the end")
    panel.legend()
    return canvas


def autoencoder() -> Figure:
    """Digits, their reconstructions from 32 numbers, and digits that a variational autoencoder makes from noise."""
    run, free = trained("autoencoder", 8), trained("variational", 6)
    test = run.load_data().parts["test"]
    images = np.asarray(test["image"])[:10].reshape(10, -1)
    back = run.predict_prepared({"image": np.asarray(test["image"])[:10]})["again"]
    drawn = np.random.default_rng(4).standard_normal((10, 20)).astype(np.float32)
    generated = free.program.predict({"code": drawn})["again"]
    canvas, axes = figure(6.4, 2.1, 3, 10)
    for row, pictures in enumerate((images, back, generated)):
        for panel, image in zip(axes[row], pictures, strict=True):
            panel.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            panel.axis("off")
    return canvas


def oscillator() -> Figure:
    """The solution that the network found, the exact motion, and their difference."""
    run = trained("oscillator")
    t = np.linspace(0, 6, 400, dtype=np.float32)
    outputs = run.predict_prepared({next(iter(run.model.inputs)): t})
    predicted = outputs[next(iter(run.model.outputs))].ravel()
    rate = np.sqrt(2 - 0.04)
    exact = np.exp(-0.2 * t) * (np.cos(rate * t) + 0.2 / rate * np.sin(rate * t))
    canvas, axes = figure(6.4, 2.6, 1, 2)
    axes[0][0].plot(t, exact, color=GREY, linewidth=4, label="exact")
    axes[0][0].plot(t, predicted, color=BLUE, label="the network")
    axes[0][0].legend()
    axes[0][0].set(xlabel="t", ylabel="u(t)")
    axes[0][1].plot(t, predicted - exact, color=ORANGE)
    axes[0][1].set(xlabel="t", title="the difference")
    return canvas


def language() -> Figure:
    """The probability of each next letter of a sentence, after two epochs over the novel."""
    run = trained("moby_dick", 2)
    letters = list(run.states["letter"][1]["tokens"])
    sentence = "the white whale swam before him as the incarnation of all those"
    codes = np.array([letters.index(letter) for letter in sentence], np.int32)
    likely = run.predict_prepared({"letter": [codes]})["likely"][0]
    chances = [0.0, *(likely[i, codes[i + 1]] for i in range(len(codes) - 1))]
    canvas, ((panel,),) = figure(7, 2)
    panel.bar(range(len(sentence)), chances, color=[GREY if letter == " " else BLUE for letter in sentence])
    panel.set(
        xticks=range(len(sentence)), xticklabels=list(sentence.replace(" ", "_")), ylim=(0, 1), ylabel="probability"
    )
    return canvas


def attention() -> Figure:
    """The attention weights: the letters that the decoder looks at for each sound of a word."""
    run = trained("cmudict", 3)
    model = run.model
    letters = list(run.states["word"][1]["tokens"])
    sounds = list(run.states["phones"][-1]["tokens"])
    word = "photograph"
    inputs = {"word": [np.array([letters.index(letter) for letter in word], np.int32)]}
    spoken = np.asarray(run.predict_prepared(inputs)["phones_said"][0])
    spoken = spoken[: 1 + [sounds[i] for i in spoken].index("<end>")]
    fields = {**inputs, "phones": [spoken.astype(np.int32)]}
    values = run.program.predict(fields, outputs=["hs", "keys"])
    hs, keys = values["hs"][0], values["keys"][0]
    scores = hs @ keys.T / np.sqrt(keys.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    assert model.outputs
    canvas, ((panel,),) = figure(4.2, 3.4)
    panel.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    panel.set(
        xticks=range(len(word)),
        xticklabels=list(word),
        yticks=range(len(spoken)),
        yticklabels=[sounds[i] for i in spoken],
    )
    panel.set(xlabel="letters", ylabel="sounds")
    return canvas


def _shown(path: Path, unfold: int) -> bytes:
    """The picture of a model, as `netc show` draws it."""
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
    function.__name__: function
    for function in (
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
        canvas, path = PICTURES[name](), HERE / "pictures" / f"{name}.svg"
        if isinstance(canvas, bytes):
            path.write_bytes(canvas)
        else:
            canvas.savefig(path, format="svg", metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main()
