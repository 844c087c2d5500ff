"""Tests that compile the kernels."""
