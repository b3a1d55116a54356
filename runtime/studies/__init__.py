"""Several trainings of one model: folds, the test of learning rates, and the search of a study."""
