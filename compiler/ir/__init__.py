"""The intermediate language: values, graphs, types, varying dimensions and the printed form.

Knows no particular operation and no pass.
"""
