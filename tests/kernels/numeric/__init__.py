"""Tests that run the kernels in Triton's interpreter."""
