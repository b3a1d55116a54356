"""Tasks -> plan for a target description: phases between barriers, shares of workers, an address for every buffer.

- the order: phases.py divides tasks into phases and groups; columns.py shares products of few rows by columns,
  and last_steps.py finds what the last step of a scan leaves out
- the memory: plan.py; row_blocks.py chooses how many rows a worker takes at once, and prefetches.py what calls prefetch
- the work: last_steps.py finds tasks that the last step of a scan does not need
- several processes: ranks.py
- checks: verify_plan.py, by the elements that calls reach (accesses.py)
- for `netc profile`: traffic.py counts the bytes of a call, and locality.py finds where they lie
"""
