"""Numbers of things, as messages say them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, to whose plural an s is added: `1 sweep`, `2,000 sweeps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
