"""Predictions of a model, and of parts of it."""
