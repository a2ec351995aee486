"""Kernels of our own for a GPU, in CUDA C, and how they are compiled at their first use."""
