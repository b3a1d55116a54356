"""The table of generation: a GPT of 4 layers writes letters one by one, in netc and in PyTorch with a key/value cache.

Both have the same parameters, and cannot see more than 1,024 letters. They take turns, some letters each, and of
the rounds the best time of each letter counts.
"""

import time
from collections.abc import Callable

import numpy as np

import netc
from benchmarks.models import gpt
from benchmarks.printing import Rows
from benchmarks.settings import Settings
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.pipeline import steppable_graph
from netc.runtime.inference.stepper import Stepped, Stepper
from netc.runtime.program import Program
from netc.runtime.runs.generate import draw

_MOST, _LENGTH, _TURN = 1024, 1000, 100
_SHOWN = (100, 500, 1000)
_CHECKED = 20  # letters whose logits must agree
_Next = Callable[[], None]  # writes the next letter


def table(settings: Settings) -> None:
    """Prints the times of the first letters, for each number of threads."""
    heads = ["letters", "threads", "netc ms", "us a letter", "PyTorch ms", "PyTorch / netc"]
    rows = Rows(heads, 9)
    for threads in settings.threads:
        program = _program(threads)
        best = np.full((2, _LENGTH), np.inf)
        for number in range(max(settings.rounds // 2, 2)):
            best = np.minimum(best, _round(program, threads, number))
        ours, theirs = best.cumsum(axis=1)
        for length in _SHOWN:
            ours_here, other = ours[length - 1], theirs[length - 1]
            last = np.median(best[0, length - 50 : length])
            shown = [f"{ours_here * 1e3:.1f}", f"{last * 1e6:.0f}", f"{other * 1e3:.1f}", f"{other / ours_here:.2f}"]
            rows.add([str(length), str(threads), *shown])


def _program(threads: int) -> Program:
    inputs = (
        f"  input x: class({gpt.LETTERS})[time <= {_MOST}]\n  param places: float[{_MOST}, {gpt.WIDTH}] = normal(0.02)"
    )
    return netc.compile(netc.parse(gpt.NANO.net(inputs, "places[:time]", "output scores = z")), threads=threads)


def _stepper(program: Program) -> Stepper:
    graph = steppable_graph(program.model)
    what = Stepped(graph, Result(ResultKind.OUTPUT, "scores"), "x", "time", _MOST)
    return Stepper(program.compiled, what)


def _round(program: Program, threads: int, seed: int) -> np.ndarray:
    """The seconds of each letter, of netc and of PyTorch."""
    _check(program, threads)
    both = (_with_netc(program, seed), _with_torch(program, threads, seed))
    seconds = np.zeros((2, _LENGTH))
    for first in range(0, _LENGTH, _TURN):
        for contender, advance in enumerate(both):
            for letter in range(first, first + _TURN):
                begin = time.perf_counter()
                advance()
                seconds[contender, letter] = time.perf_counter() - begin
    return seconds


def _with_netc(program: Program, seed: int) -> _Next:
    model, rng, token = _stepper(program), np.random.default_rng(seed), np.zeros(1, np.int32)

    def advance() -> None:
        token[0] = draw(model.step(token)[0].astype(np.float64), 1.0, 0, float(rng.random()))

    return advance


def _with_torch(program: Program, threads: int, seed: int) -> _Next:
    import torch

    model, random = _torch(program, threads), torch.Generator().manual_seed(seed)
    token = torch.zeros((1, 1), dtype=torch.int64)

    def advance() -> None:
        nonlocal token
        token = torch.multinomial(torch.softmax(model(token), dim=-1), 1, generator=random)

    return advance


def _check(program: Program, threads: int) -> None:
    """Asserts that both compute the same logits."""
    import torch

    ours, theirs = _stepper(program), _torch(program, threads)
    for token in np.random.default_rng(1).integers(0, gpt.LETTERS, _CHECKED):
        scores = theirs(torch.tensor([[int(token)]])).numpy()
        np.testing.assert_allclose(ours.step(np.full(1, token, np.int32)), scores, 1e-3, 1e-4)


def _torch(program: Program, threads: int) -> Callable[..., "torch.Tensor"]:  # noqa: F821  imported where it is used
    """PyTorch's model of the next letter, which writes keys and values into a cache that exists from the beginning."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    weights = {name: torch.tensor(array) for name, array in program.parameters.items()}
    linear = {name: array.T.contiguous() for name, array in weights.items() if name.endswith(".W")}
    cache = {path: torch.zeros(2, 1, gpt.HEADS, _MOST, gpt.WIDTH // gpt.HEADS) for path in gpt.NANO.blocks}
    position = 0

    def norm(x: torch.Tensor, path: str) -> torch.Tensor:
        return functional.layer_norm(x, (gpt.WIDTH,), weights[f"{path}.scale"])

    def transformer(x: torch.Tensor, path: str) -> torch.Tensor:
        joint = functional.linear(norm(x, f"{path}.joint.scaled_norm"), linear[f"{path}.joint.linear.W"])
        heads = (1, 1, gpt.HEADS, gpt.WIDTH // gpt.HEADS)
        q, k, v = (part.view(heads).transpose(1, 2) for part in joint.split(gpt.WIDTH, dim=2))
        keys, values = cache[path]
        keys[:, :, position : position + 1], values[:, :, position : position + 1] = k, v
        seen = functional.scaled_dot_product_attention(q, keys[:, :, : position + 1], values[:, :, : position + 1])
        x = x + functional.linear(seen.transpose(1, 2).reshape(x.shape), linear[f"{path}.h.linear.W"])
        wide = functional.linear(norm(x, f"{path}.scaled_norm"), linear[f"{path}.linear.W"])
        return x + functional.linear(functional.gelu(wide), linear[f"{path}.linear_2.W"])

    @torch.inference_mode()
    def scores(token: torch.Tensor) -> torch.Tensor:
        nonlocal position
        x = functional.embedding(token, weights["letters"]) + weights["places"][position]
        for path in gpt.NANO.blocks:
            x = transformer(x, path)
        position += 1
        return functional.linear(norm(x, "h.scaled_norm"), weights["letters"])[0]

    return scores
