"""Attention kernels, block by block (FlashAttention): many queries (kernel.py), their gradient, and a single query."""
