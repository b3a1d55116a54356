"""This package adds an activation, a pass, a reader, a data step, an optimizer, a metric and a schedule to netc.

The entry points in pyproject.toml name each of them.
"""
