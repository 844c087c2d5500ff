"""Say before the tests, in one line, what Triton lacks on this machine to launch kernels on its GPU.

Run as `python -m tests.toolchain`; exit code 1 where something is missing.
"""

from __future__ import annotations

import sys

from tunedb.cli.commands.demo import check_toolchain
from tunedb.errors import SettingError


def main() -> int:
    """The exit code."""
    import torch

    if not torch.cuda.is_available():
        print("No GPU here: tests that need one are skipped.")
        return 0
    try:
        check_toolchain()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
