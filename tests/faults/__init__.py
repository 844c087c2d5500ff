"""Faults, put in on purpose, each with what must hold: docs/design/reliability.md lists them."""
