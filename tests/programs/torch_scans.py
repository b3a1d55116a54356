"""Scans in the evaluation by PyTorch: step after step, in each sample as far as it goes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from netc.dsl import syntax
from tests.programs.torch_values import Results, Samples, Scope, Unsupported

if TYPE_CHECKING:
    from tests.programs.torch_evaluator import Evaluator


def scan(self: "Evaluator", node: syntax.Scan, scope: Scope) -> Any:
    """What the body yields, stacked for each sample."""
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
                own[min(step, length - 1)] for own, length in zip(sequence, lengths, strict=True)
            )
        inner.update(zip((carry.name.text for carry in node.carries), carries, strict=True))
        self.run(statements, inner)
        for stack, value in zip(stacks, last.values, strict=True):
            results = _of_samples(self.evaluate(value, inner), self.count)
            for own, result, length in zip(stack, results, lengths, strict=True):
                own += [result] if step < length else []
        carries = [_of_samples(inner[carry.name.text], self.count) for carry in node.carries]
    values = [Samples(torch.stack(own) for own in stack) for stack in stacks]
    return values[0] if len(values) == 1 else Results(values)


def _walked(self: "Evaluator", node: syntax.Scan, scope: Scope) -> tuple[list[Sequence[Any]], list[int]]:
    """For each name what it walks in every sample, and how many steps that is."""
    if isinstance(node.over, syntax.Range):
        start, stop = self.evaluate(node.over.start, scope), self.evaluate(node.over.stop, scope)
        counted = torch.arange(start, stop, dtype=torch.float64)
        return [(counted,) * self.count], [stop - start] * self.count
    sequences = [_of_samples(self.evaluate(sequence, scope), self.count) for sequence in node.over]
    return list(sequences), [len(own) for own in sequences[0]]


def _of_samples(value: Any, count: int) -> Samples:
    """A value of each sample, though it may be the same for all."""
    if isinstance(value, Samples):
        return value
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value, dtype=torch.float64)
    return Samples((tensor,) * count)
