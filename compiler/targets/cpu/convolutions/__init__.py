"""Kernels of convolutions that are no plain products: Winograd's filtering, and narrow groups of channels."""
