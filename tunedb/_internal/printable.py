"""Text from stores and errors as one line of what a terminal, a log or a comment may show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return the text with an escape, such as `\x1b`, for every character that is not printed.

    These are control characters, line breaks of all kinds, marks that change the direction of writing, and lone
    surrogates: they would steer a terminal, forge a line of a log, or end a comment in an exported file.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
