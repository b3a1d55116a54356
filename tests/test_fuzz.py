"""Mutated models: a message at a place, or a right result; never a traceback, never a hang.

`pytest --long tests/test_fuzz.py` runs as often as the issues ask.
"""

import random
import re
from pathlib import Path

import pytest
from support import ROOT, problem_of

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.equations.derivation import derive
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.results import ResultKind
from netc.compiler.lowering.lower import lower
from netc.compiler.targets.machine import host
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import Source
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.data.dataset import load
from netc.runtime.resolved import resolved_text
from netc.runtime.studies.check import check_study

FILES = [
    *sorted((ROOT / "examples").glob("*.net")),
    *sorted((ROOT / "tests" / "gallery").glob("*/case.net")),
    *sorted((ROOT / "tests" / "gallery").glob("study_*/right.net")),
]
SEED = 20261125


def mutated(text: str, draw: random.Random) -> str:
    """One to three changes: tokens dropped, doubled, swapped or copied from elsewhere, or a byte flipped."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        tokens = re.findall(r'"[^"\n]*"|\w+|\s+|.', text)
        i, j = draw.randrange(len(tokens)), draw.randrange(len(tokens))
        match draw.randrange(6):
            case 0:
                del tokens[i]
            case 1:
                tokens.insert(i, tokens[i])
            case 2:
                tokens[i], tokens[j] = tokens[j], tokens[i]
            case 3:
                tokens[i] = tokens[j]
            case 4:
                tokens[i] = draw.choice(
                    ("0", "-1", "1e400", "99999999999", '""', "x", "()", "[", "}", "all", "nan", "...", "batch")
                )
            case 5:
                raw = bytearray("".join(tokens).encode())
                raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
                tokens = [raw.decode("utf-8", "replace")]
        text = "".join(tokens)
        if not text:
            return " "
    return text


def everything(text: str, path: Path) -> None:
    """Does what all commands do with a file, except for compiling it."""
    file = parse(Source(path.name, text, path))
    assert print_file(parse(Source("again", print_file(file)))) == print_file(file)
    model = elaborate(file, {}, class_counter(file))
    for warning in model.warnings:
        warning.render()
    if model.study is not None:
        check_study(model)
    if model.graph.has(ResultKind.LOSS):
        pipeline.run_passes(pipeline.training_graph(model))
        derive(model)
    if model.data is not None and "mnist" not in text:
        load(model, parse_data(model))
        resolved_text(model)


@pytest.mark.parametrize("part", range(4))
def test_mutated_files(part: int, is_long: bool) -> None:
    draw, failures = random.Random(SEED + part), []
    for _ in range(500 if is_long else 60):
        path = draw.choice(FILES)
        text = mutated(path.read_text(encoding="utf-8"), draw)
        failure = problem_of(lambda path=path, text=text: everything(text, path))
        failures += [f"{failure}\n{path}:\n{text}"] if failure else []
    assert not failures, "\n\n".join(failures[:10])


# functions of h: float[time, 5], k: class(5)[time], x: float[time, 3], table: float[5, 5]
OF_SEQUENCES = (
    *(
        "softmax(h, over = time)",
        "argmax(h, over = time)",
        "flatten(h)",
        "reshape(h, 5)",
        "transpose(h)",
        "stack(h, h[0])",
    ),
    *(
        "split(h, 2, over = time)",
        "h[2]",
        "h[:, 1]",
        "h[1:, 0]",
        "h[0, 1:3]",
        "pad(h, 1)",
        "maxpool(h, 2)",
        "upsample(h, 2)",
    ),
    *('einsum(h, h, "tk,sk->ts")', 'einsum(h, "tk->kt")', "outer(h, h)", "h @ h", "h @ transpose(h)", "h @ table[0]"),
    *(
        f"h @ transpose(m) -> {function}"
        for function in ("softmax", "last", "conv(4)", "dense(4)", "layernorm", "batchnorm", "flatten", "positions")
    ),
    *(
        f"{function}(h @ transpose(m), over = {axis})"
        for function in ("argmax", "reverse", "cumsum", "mean", "softmax")
        for axis in (0, "s", "batch")
    ),
    *(
        "(h @ transpose(m))[0]",
        "(h @ transpose(m))[:, 1]",
        "(h @ transpose(m))[1:]",
        "split(h @ transpose(m), 2)",
        "h[argmax(h, over = 0)]",
    ),
    *(
        "h @ transpose(m) @ m",
        "unsqueeze(h) * unsqueeze(m, 0)",
        "h + m",
        "concat(h, m)",
        "concat(h @ transpose(m), h @ transpose(m), over = 0)",
    ),
    *(
        "attention(h, m, m)",
        "attention(h[0], m, h)",
        "m -> self_attention(causal = true)",
        "dropout(h @ transpose(m), 0.5)",
        "shift(h @ transpose(m))",
    ),
    *(
        "one_hot(argmax(h @ transpose(m)), 9)",
        "reshape(h, time, 5, 1)",
        "reshape(h, s, 5)",
        "reshape(h @ transpose(m), s, time)",
        "time * s",
        "arange(s)",
    ),
    *(
        "moments(h @ transpose(m))",
        "stack(h @ transpose(m), h @ transpose(m))",
        "h @ transpose(m) + arange(s)",
        "h @ transpose(m) + arange(8)",
    ),
    *(
        "norm(h, over = batch)",
        "mean(h, over = (batch, time))",
        "concat(h, h, over = 0)",
        "unsqueeze(h, 0)",
        "h[k]",
        "table[h]",
    ),
    *(
        "conv(h, 4, stride = 2)",
        "conv(h, 4, pad = valid)",
        "arange(time)",
        "zeros(time)",
        "time * 2",
        "k + 1",
        "dropout(h)",
    ),
    *(
        "cumsum(h, over = batch)",
        "last(last(h))",
        "shift(h, first = k)",
        "embed(h, 3)",
        "x -> lstm(4, h0 = h)",
        "x -> lstm(time)",
    ),
    *("x -> gru(4, h0 = zeros(3))", "bidirectional(x, 3)", "bidirectional(x, lstm)", "rnn(h[0], 3)", "residual(h, 4)"),
    *("moments(h)", "x[1:] - x", "x[1:][1:] + x[2:]", "cumsum(x[1:], over = 0)", "h[:time]", "h if time > 3 else x"),
    *("weighted(h, h)", "top_k(h, k)", "confusion(h, k)", "auc(h, k)", "perplexity(h, k)", "r2(h, h)", "shift(h[0])"),
)


@pytest.mark.parametrize("statement", OF_SEQUENCES)
def test_functions_of_sequences_are_right_or_a_fault(statement: str) -> None:
    """They are lowered to tasks, with any loss."""
    for loss in ("mse(z, z * 2)", "z", "cross_entropy(z, y)"):
        text = (
            "model {\n  input x: float[time <= 9, 3]\n  input k: class(5)[time]\n  input m: float[s <= 8, 5]\n"
            "  target y: class(4)\n"
            f"  param table: float[5, 5] = normal(1)\n  h = x -> dense(5) -> tanh\n  z = {statement}\n"
            f"  output p = z\n  loss {loss}\n}}\n"
        )

        def run(text: str = text) -> None:
            everything(text, Path("model.net"))
            model = netc.parse(text)
            for graph in (pipeline.training_graph(model), pipeline.prediction_graph(model)):
                ready = pipeline.run_passes(graph)
                rows = {str(value.type.rows) for value in ready.values() if value.type.is_varying}
                lower(ready, {"batch": 4, **dict.fromkeys(rows, 20)}, host())

        failure = problem_of(run)
        assert failure is None, f"{failure}\n{text}"
