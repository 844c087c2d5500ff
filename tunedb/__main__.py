"""The program `tunedb`, also as `python -m tunedb`. Interrupts are handled before the command line is loaded."""

from __future__ import annotations

import sys

from tunedb._internal import interrupts

TYPE_CHECKING = False  # not typing's, for which Ctrl-C would have to wait
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the program."""
    interrupts.watch()
    if sys.argv[1:2] == ["run"]:
        from tunedb.adoption import program

        program.start_quickly(sys.argv[2:])
    from tunedb import cli

    cli.main()


if __name__ == "__main__":
    main()
