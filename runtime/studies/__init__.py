"""Several trainings of one model: the folds of a cross-validation, the test of learning rates, the search of a study."""
