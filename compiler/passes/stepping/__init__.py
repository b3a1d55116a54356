"""One step of a model of sequences, as prediction step by step needs it (`netc generate`, the runtime's `Stepper`).

step.py makes the graph of a step (graph.py). axes.py finds the axis of each value that runs along the steps,
later_steps.py proves that later steps do not matter, by sums of the numbers of steps (numbers.py), and histories.py
computes with the rows of all earlier steps.
"""
