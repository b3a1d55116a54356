"""A lowered program as plain data: loop nests, contractions, tasks over buffers, schedules.

Knows no graph pass, no machine, and not LLVM.
"""
