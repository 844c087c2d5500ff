"""Kernels of another package than tunedb, registered so that `tunedb warm` can tune them ahead of their calls."""
