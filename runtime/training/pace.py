"""The number of steps that workers do before they leave compiled code; Ctrl-C and progress are looked at in between."""

from msgspec import Struct

_SECONDS = 0.05  # that workers stay in compiled code


class Pace(Struct):
    """The number of steps that take about 50 ms, as far as is known from those that a program has done."""

    steps: int = 1

    def took(self, steps: int, seconds: float) -> None:
        """Adapts the number to the seconds that some steps took."""
        fitting = max(1, round(steps * _SECONDS / max(seconds, 1e-9)))
        self.steps = fitting if fitting < self.steps else min(4 * max(steps, self.steps // 4), fitting)
