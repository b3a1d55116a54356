"""PyTorch as a contender, eager, compiled or with autocast to bf16, with fused Adam.

Its batch is in memory: a timed step gathers nothing.
"""

import copy
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from benchmarks.model import LEARNING_RATE, Model, Weights
from benchmarks.torch_layers import Batch, Layers, batches

_TRIED = 4  # steps of a round that chooses the fastest form of a network


class Training:
    """A network with its optimizer and its batch, in one of the forms that PyTorch may take it in."""

    def __init__(self, model: Model, network: Any, batch: Batch, variant: str) -> None:
        self.network, self.batch = network.to(memory_format=batch.layout), batch
        self.first = copy.deepcopy(self.network.state_dict())
        is_labelled = model.loss == "cross_entropy"

        def loss(inputs: tuple[Any, ...], y: Any) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=variant == "bf16"):
                output = self.network(*inputs).float()
            if is_labelled:
                return torch.nn.functional.cross_entropy(output.flatten(0, -2), y.flatten())
            return torch.nn.functional.mse_loss(output, inputs[0])

        self.loss = torch.compile(loss) if variant == "compile" else loss
        self.restart()

    def restart(self) -> None:
        """Goes back to the first weights, with a new optimizer."""
        self.network.load_state_dict(self.first)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE, fused=True)

    def step(self, inputs: tuple[Any, ...], y: Any) -> torch.Tensor:
        """Takes one step with Adam and returns its loss."""
        self.optimizer.zero_grad()
        loss = self.loss(inputs, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def seconds(self, steps: int) -> float:
        """The seconds per step of some steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step(self.batch.inputs, self.batch.y)
        return (time.perf_counter() - start) / steps


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.variant, self.is_compiled = variant, variant == "compile"
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)

    def build(self, model: Model, weights: Weights) -> None:
        """Builds the network in its fastest form: memory layout, padded or packed."""
        self.model = model
        torch._dynamo.reset()
        forms: Iterable[Batch] = (model.torch_batches or batches)(model.data(model.batch))
        trainings = [
            Training(model, model.in_torch(Layers(weights)), form, self.variant)
            for form in forms
            if form.is_traceable or not self.is_compiled
        ]
        if len(trainings) > 1:
            for training in trainings:
                training.seconds(1)
            trainings.sort(key=lambda training: min(training.seconds(_TRIED) for _ in range(3)))
            trainings[0].restart()
        self.training = trainings[0]

    def advance(self) -> float:
        """Takes one step and returns its loss."""
        return float(self.training.step(self.training.batch.inputs, self.training.batch.y))

    def round(self, steps: int) -> float:
        """Takes some steps and returns the seconds per step."""
        return self.training.seconds(steps)

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        start = time.perf_counter()
        batch = self.model.batch
        for chosen in torch.randperm(len(labels))[: len(y) // batch * batch].split(batch):
            self.training.step((inputs[chosen],), labels[chosen])
        return time.perf_counter() - start
