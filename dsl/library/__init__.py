"""Layers, losses and metrics, written in the language: the `.net` files beside this one."""
