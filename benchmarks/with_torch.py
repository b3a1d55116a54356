"""PyTorch as a contender, eager or compiled: fused Adam, its batch in memory beforehand; what is timed gathers nothing."""

import time

import numpy as np
import torch

from benchmarks.models import LEARNING_RATE, Model


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.is_compiled = variant == "compile"
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)

    def build(self, model: Model) -> None:
        self.model = model
        torch._dynamo.reset()
        layers: list[torch.nn.Module] = []
        for weight in map(torch.tensor, model.weights()):
            linear = torch.nn.Linear(*weight.shape)
            linear.weight.data, linear.bias.data = weight.T.contiguous(), torch.zeros(weight.shape[1])
            layers += [linear, torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        labelled = model.loss == "cross_entropy"

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            found = network(x)
            return torch.nn.functional.cross_entropy(found, y) if labelled else torch.nn.functional.mse_loss(found, x)

        self.loss = torch.compile(loss) if self.is_compiled else loss
        x, y = model.data(model.batch)
        self.x, self.y = torch.tensor(x), torch.tensor(y, dtype=torch.int64)

    def advance(self) -> float:
        return float(self.step(self.x, self.y))

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def round(self) -> float:
        start = time.perf_counter()
        for _ in range(self.model.steps):
            self.step(self.x, self.y)
        return (time.perf_counter() - start) / self.model.steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        start = time.perf_counter()
        for chosen in torch.randperm(len(labels))[: len(y) // self.model.batch * self.model.batch].split(
            self.model.batch
        ):
            self.step(inputs[chosen], labels[chosen])
        return time.perf_counter() - start
