"""Kernels of other packages: Triton's autotuner without and with its cache of results, and tunedb.adopt()."""
