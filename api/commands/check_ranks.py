"""`netc check M.net --ranks 64`: what a training step would take on several ranks, and how many of them pay."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from netc.commands.launched import together
from netc.commands.terminal import say, table
from netc.compiler.program.gathers import MOST_RANKS

if TYPE_CHECKING:
    from netc.compiler.model import Model
    from netc.runtime.distributed.prediction import Prediction

_LATENCY, _BANDWIDTH = 20.0, 5.0  # microseconds and gigabytes per second: two ranks on one machine, over Open MPI
_PAYS = 1.2  # the least factor by which twice as many ranks are faster, if they are worth it


def network_of(latency: float | None, bandwidth: float | None) -> tuple[float, float]:
    """The latency in microseconds and the bandwidth in gigabytes per second of a network: as they are given, or else as
    the ranks measure them that this command was started on, or else those of ranks on one machine."""
    measured = _LATENCY, _BANDWIDTH
    with together() as launched:
        if launched.ranks is not None:
            seconds, bytes_per_second = launched.ranks.network()
            measured = seconds * 1e6, bytes_per_second / 1e9
    return measured[0] if latency is None else latency, measured[1] if bandwidth is None else bandwidth


def facts_of_ranks(model: "Model", ranks: int, latency: float, bandwidth: float) -> dict[str, Any]:
    """The predictions for 1, 2, 4, ... ranks, as JSON. The step is timed here on synthetic data, by one thread."""
    from netc.runtime.data.synthetic import synthetic_data
    from netc.runtime.distributed.prediction import Network, predictions
    from netc.runtime.program import Program

    counts = [2**power for power in range(ranks.bit_length()) if 2**power <= ranks]
    program = Program(model, threads=1)
    fields = program.compiled.fields.ready(synthetic_data(model, model.train.batch))
    predicted = predictions(program, fields, Network(latency * 1e-6, bandwidth * 1e9), counts)
    return {
        "latency_us": latency,
        "bandwidth_gb_per_second": bandwidth,
        "pays_until": _last_that_pays(predicted),
        "steps": [
            {
                "ranks": step.ranks,
                "seconds": step.seconds,
                "computing": step.computing,
                "gathering": step.gathering,
                "received_bytes": step.nbytes,
                "speed_up": predicted[0].seconds / step.seconds,
            }
            for step in predicted
        ],
    }


def _last_that_pays(predicted: "list[Prediction]") -> int:
    """The most ranks that are clearly faster than half of them."""
    last = 1
    for half, whole in pairwise(predicted):
        if half.seconds < _PAYS * whole.seconds or whole.ranks > MOST_RANKS:
            break
        last = whole.ranks
    return last


def print_ranks(facts: dict[str, Any]) -> None:
    """Prints the predictions as a table."""
    say()
    network = f"{facts['latency_us']:.4g} us, {facts['bandwidth_gb_per_second']:.4g} GB/s"
    say(f"a step on several ranks of one thread, predicted for a network of {network}:")
    rows = [["ranks", "ms", "of them gathering", "MB received", "faster"]]
    for step in facts["steps"]:
        mark = " (*)" if step["ranks"] > MOST_RANKS else ""
        numbers = step["seconds"] * 1e3, step["gathering"] * 1e3, step["received_bytes"] / 1e6, step["speed_up"]
        rows.append([f"{step['ranks']}{mark}", *(f"{number:.3f}" for number in numbers[:3]), f"{numbers[3]:.2f}x"])
    table(rows, right=range(len(rows[0])))
    if facts["steps"][-1]["ranks"] > MOST_RANKS:
        say(f"(*) if a batch had as many shards; it has {MOST_RANKS}, and so at most {MOST_RANKS} ranks share it")
    last = facts["pays_until"]
    say(f"more than {last} ranks do not pay" if last > 1 else "several ranks do not pay: the step is too small")
