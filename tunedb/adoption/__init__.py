"""Adoption: kernels that others decorated with `triton.autotune`, served by the tuner."""
