"""Trackers: the metrics of a run in the formats of other tools, while it is trained."""
