"""Faults, put in on purpose, each with what must hold: docs/reliability.md lists them."""
