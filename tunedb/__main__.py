"""The program `tunedb`, also as `python -m tunedb`. Interrupts are handled before the command line is loaded."""

from __future__ import annotations

from typing import NoReturn

from tunedb._internal import interrupts


def main() -> NoReturn:
    """Run the program."""
    interrupts.watch()
    from tunedb import cli

    cli.main()


if __name__ == "__main__":
    main()
