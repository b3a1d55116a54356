"""Several trainings of one model: segments of trials, the folds of a cross-validation, the test of learning rates."""
