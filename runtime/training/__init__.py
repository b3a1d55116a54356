"""Steps of the optimizer over a model's parameters."""
