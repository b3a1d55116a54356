"""Graph -> tasks: which values share a loop, where each value lies in memory, which kernel computes it."""
