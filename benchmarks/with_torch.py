"""PyTorch as a contender, eager or compiled, with fused Adam. Its batch is in memory: a timed step gathers nothing."""

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
        """Builds the network in its fastest form: memory layout, padded or packed sequences."""
        self.model = model
        torch._dynamo.reset()
        if model.units:
            self._recurrent(model, packed=False)
            self.advance()
            padded = min(self.round() for _ in range(2))
            self._recurrent(model, packed=True)
            self.advance()
            if not model.shortest or self.is_compiled or padded < min(self.round() for _ in range(2)):
                self._recurrent(model, packed=False)
            return
        if not model.convolutions:
            self._ready(model, torch.contiguous_format)
            return
        seconds = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            self._ready(model, layout)
            self.advance()
            seconds[layout] = min(self.round() for _ in range(2))
        self._ready(model, min(seconds, key=lambda layout: seconds[layout]))

    def _ready(self, model: Model, layout: torch.memory_format) -> None:
        """Builds a network without an LSTM, its optimizer and its batch."""
        layers: list[torch.nn.Module] = []
        weights = [torch.tensor(weight) for weight in model.weights()]
        for weight in weights[: len(model.convolutions)]:
            convolution = torch.nn.Conv2d(
                weight.shape[2], weight.shape[3], 3, padding=1, stride=2 if model.is_mirrored else 1
            )
            convolution.weight.data = weight.permute(3, 2, 0, 1).contiguous()
            convolution.bias.data = torch.zeros(weight.shape[3])
            normalised = [torch.nn.BatchNorm2d(weight.shape[3])] if model.is_normalised else []
            layers += [convolution, *normalised, torch.nn.ReLU()]
            layers += [] if model.is_mirrored else [torch.nn.MaxPool2d(2)]
        if model.convolutions:
            layers.append(torch.nn.Flatten())
            side, first = 28 >> len(model.convolutions), len(model.convolutions)
            rows = weights[first].reshape(side, side, model.convolutions[-1], -1)  # PyTorch flattens channels first
            weights[first] = rows.permute(2, 0, 1, 3).reshape(weights[first].shape)
        back = weights[-len(model.convolutions) :] if model.is_mirrored else []
        if back:
            channels = model.convolutions[-1]
            columns = weights[-len(back) - 1].reshape(-1, side, side, channels)
            weights[-len(back) - 1] = columns.permute(0, 3, 1, 2).reshape(len(columns), -1)
        for weight in weights[len(model.convolutions) : len(weights) - len(back)]:
            linear = torch.nn.Linear(*weight.shape)
            linear.weight.data, linear.bias.data = weight.T.contiguous(), torch.zeros(weight.shape[1])
            layers += [linear, torch.nn.ReLU()]
        if back:
            layers.append(torch.nn.Unflatten(1, (channels, side, side)))
        for weight in back:
            transposed = torch.nn.ConvTranspose2d(
                weight.shape[2], weight.shape[3], 3, stride=2, padding=1, output_padding=1
            )
            transposed.weight.data = weight.permute(2, 3, 0, 1).contiguous()
            transposed.bias.data = torch.zeros(weight.shape[3])
            layers += [transposed, torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1])
        if model.convolutions:
            network = network.to(memory_format=layout)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        labelled = model.loss == "cross_entropy"

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            output = network(x)
            return torch.nn.functional.cross_entropy(output, y) if labelled else torch.nn.functional.mse_loss(output, x)

        self.loss = torch.compile(loss) if self.is_compiled else loss
        x, y = model.data(model.batch)
        self.x, self.y = torch.tensor(x), torch.tensor(y, dtype=torch.int64)
        if model.convolutions:
            self.x = self.x.permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def _recurrent(self, model: Model, packed: bool) -> None:
        """Builds an LSTM over padded or packed sequences and a layer over the last state of each sample."""
        weights = [torch.tensor(weight) for weight in model.weights()]
        recurrent, dense = torch.nn.LSTM(model.widths[0], model.units), torch.nn.Linear(model.units, model.widths[1])
        with torch.no_grad():
            for name, value in zip(("weight_ih_l0", "weight_hh_l0"), weights, strict=False):
                getattr(recurrent, name).copy_(value.T)
            recurrent.bias_ih_l0.zero_()
            recurrent.bias_hh_l0.zero_()
            dense.weight.copy_(weights[2].T)
            dense.bias.zero_()
        recurrent.bias_hh_l0.requires_grad_(False)  # one bias, like the other contenders
        every = (*recurrent.parameters(), *dense.parameters())
        parameters = [parameter for parameter in every if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        x, y = model.data(model.batch)
        lengths = torch.tensor(model.lengths(model.batch))
        ranked = torch.argsort(lengths, descending=True, stable=True)
        self.x = torch.tensor(x)[ranked].transpose(0, 1)[: int(lengths.max())].contiguous()
        self.y, lengths = torch.tensor(y, dtype=torch.int64)[ranked], lengths[ranked]
        at = (lengths - 1, torch.arange(model.batch))
        pack = torch.nn.utils.rnn.pack_padded_sequence(self.x, lengths) if packed else None

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if pack is not None:
                _, (last, _) = recurrent(pack)
                return torch.nn.functional.cross_entropy(dense(last[0]), y)
            states, _ = recurrent(x)
            return torch.nn.functional.cross_entropy(dense(states[at]), y)

        self.loss = torch.compile(loss) if self.is_compiled else loss

    def advance(self) -> float:
        """Takes one step and returns its loss."""
        return float(self.step(self.x, self.y))

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Takes one step with Adam and returns its loss."""
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def round(self) -> float:
        """Takes many steps and returns the seconds per step."""
        start = time.perf_counter()
        for _ in range(self.model.steps):
            self.step(self.x, self.y)
        return (time.perf_counter() - start) / self.model.steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        start = time.perf_counter()
        batch = self.model.batch
        for chosen in torch.randperm(len(labels))[: len(y) // batch * batch].split(batch):
            self.step(inputs[chosen], labels[chosen])
        return time.perf_counter() - start
