"""The same program in PyTorch: loss and gradients of all parameters in f64, by PyTorch's autograd.

It shares only the parser and the order of the parameters with the compiler. Programs with features that the evaluator
does not have (random values, truncation, schedules) are not compared.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

import netc
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime.verification.subject import Subject, first_batch, program_of
from tests.programs.program import Program
from tests.programs.torch_evaluator import Evaluator
from tests.programs.torch_values import Samples, Scope, Unsupported

TOLERANCE = 1e-7


UNSUPPORTED = frozenset({"random", "truncate", "loss_scale", "fitted", "class weights"})


def differences_from_pytorch(program: Program) -> Iterator[str]:
    """The differences of loss and gradients in f64 from PyTorch's."""
    if UNSUPPORTED & program.features:
        return
    double = replace(
        program, settings=(*((k, v) for k, v in program.settings if k != "precision"), ("precision", "f64"))
    )
    model = netc.parse(double.text)
    subject = Subject(model, double.data, program.seed)
    ours = program_of(subject, "reference")
    fields = first_batch(subject)
    try:
        expected_loss, expected = loss_and_gradients(double, ours, fields)
    except Unsupported:
        return
    loss, gradients = ours.gradients(fields)
    if not np.isclose(loss, expected_loss, rtol=TOLERANCE, atol=TOLERANCE):
        yield f"loss {loss}, PyTorch {expected_loss}"
    for name, gradient in gradients.items():
        scale = 1 + np.abs(expected[name]).max(initial=0)
        if not np.abs(gradient - expected[name]).max(initial=0) <= TOLERANCE * scale:
            at = np.unravel_index(np.argmax(np.abs(gradient - expected[name])), gradient.shape)
            yield f"gradient of {name} at {tuple(map(int, at))}: {gradient[at]}, PyTorch {expected[name][at]}"


def loss_and_gradients(program: Program, ours: netc.Program, fields: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """The total loss of a batch and its gradient for every parameter, by PyTorch."""
    file = parse(Source("model.net", program.text))
    model = ours.model
    parameters = {
        name: torch.tensor(ours.persistent[name], dtype=torch.float64, requires_grad=True) for name in model.parameters
    }
    states = [torch.tensor(ours.persistent[name], dtype=torch.float64) for name in model.states]
    samples = {name: Samples(_tensor(sample) for sample in value) for name, value in fields.items()}
    blocks = {item.name.text: item for item in file.items if isinstance(item, syntax.Block | syntax.Op)}
    evaluator = Evaluator(
        len(next(iter(samples.values()))),
        parameters,
        iter(states),
        samples,
        blocks,
        bool(program.lengths),
    )
    scope = Scope()
    for item in file.items:
        if isinstance(item, syntax.Let):
            scope[item.name.text] = evaluator.evaluate(item.value, scope)
    body = next(item.body for item in file.items if isinstance(item, syntax.Model))
    evaluator.run(body, Scope(scope))
    total = sum(evaluator.losses)
    if not total.requires_grad:  # the derivative is constant
        return total.item(), {name: np.zeros(parameter.shape) for name, parameter in parameters.items()}
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    zeros = (
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters.values(), gradients, strict=True)
    )
    return total.item(), {name: gradient.numpy() for name, gradient in zip(parameters, zeros, strict=True)}


def _tensor(sample: Any) -> Any:
    array = np.asarray(sample)
    if array.dtype.kind == "f":
        return torch.tensor(array, dtype=torch.float64, requires_grad=True)
    return torch.tensor(array)
