"""Scans in the evaluation by PyTorch, step by step for each sample."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from netc.dsl import syntax
from tests.programs.torch_values import Results, Samples, Scope, Unsupported

if TYPE_CHECKING:
    from tests.programs.torch_evaluator import Evaluator


def scan(self: "Evaluator", node: syntax.Scan, scope: Scope) -> Any:
    """The yielded values, stacked for each sample."""
    if node.until is not None:
        raise Unsupported("until")
    *statements, last = node.body
    assert isinstance(last, syntax.Yield)
    walked, lengths = _walked(self, node, scope)
    carries = [_of_samples(self.evaluate(carry.value, scope), self.count) for carry in node.carries]
    stacks: list[list[list[torch.Tensor]]] = [[[] for _ in range(self.count)] for _ in last.values]
    for step in range(max(lengths)):
        inner = Scope(scope)
        for name, sequence in zip(node.names, walked, strict=True):  # beyond its end a sample repeats its last step
            inner[name.text] = Samples(
                steps[min(step, length - 1)] for steps, length in zip(sequence, lengths, strict=True)
            )
        inner.update(zip((carry.name.text for carry in node.carries), carries, strict=True))
        self.run(statements, inner)
        for stack, value in zip(stacks, last.values, strict=True):
            results = _of_samples(self.evaluate(value, inner), self.count)
            for steps, result, length in zip(stack, results, lengths, strict=True):
                steps += [result] if step < length else []
        carries = [_of_samples(inner[carry.name.text], self.count) for carry in node.carries]
    values = [Samples(torch.stack(steps) for steps in stack) for stack in stacks]
    return values[0] if len(values) == 1 else Results(values)


def _walked(self: "Evaluator", node: syntax.Scan, scope: Scope) -> tuple[list[Sequence[Any]], list[int]]:
    """The sequence of each name for every sample, and the number of steps."""
    if isinstance(node.over, syntax.Range):
        start, stop = self.evaluate(node.over.start, scope), self.evaluate(node.over.stop, scope)
        counted = torch.arange(start, stop, dtype=torch.float64)
        return [(counted,) * self.count], [stop - start] * self.count
    sequences = [_of_samples(self.evaluate(sequence, scope), self.count) for sequence in node.over]
    return list(sequences), [len(steps) for steps in sequences[0]]


def _of_samples(value: Any, count: int) -> Samples:
    """The value for each sample, also if it is the same for all."""
    if isinstance(value, Samples):
        return value
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value, dtype=torch.float64)
    return Samples((tensor,) * count)
