"""Kernels of convolutions that are not plain products: Winograd's filtering, and narrow groups of channels."""
