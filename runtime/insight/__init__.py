"""Looks at a trained run or a model and changes neither: the report, diagnosis, NaN origin, profile and drawings."""
