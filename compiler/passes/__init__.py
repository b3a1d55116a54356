"""Functions from graph to graph. The module `pipeline` says in which order the passes of a training step run.

- before the derivative (prepare.py): specialise.py, stabilise.py, reorder.py, attend.py with attention_pattern.py,
  pack.py
- a training step: differentiate.py, objective.py, row_gradient.py, optimizers.py, update.py, narrow.py
- less work for the same results: simplify.py, hoist.py with panels.py, lift.py, sink.py, recompute.py; `factor` is in
  reorder.py, `expand` in simplify.py
- other graphs: truncate.py (a chunk of a long sequence), stepping/ (a step of a prediction), storage.py (inputs that
  are kept as bytes), supplied_constants.py (numbers that become leaves)
- scans.py: changes to scans that several passes share
"""
