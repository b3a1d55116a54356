"""Interprets a graph without a plan: the reference interpreter as a target."""
