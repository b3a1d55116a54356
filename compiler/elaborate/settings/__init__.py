"""The `train` block: its settings, the optimizer, schedules, and the values that `--set` replaces."""
