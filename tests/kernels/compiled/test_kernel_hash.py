"""The kernels' hashes: the same in every process, and not the same for every kernel."""

import os
import subprocess
import sys

from tunedb.kernels.avg_pool import BACKWARD, FORWARD


def test_the_interpreter_and_the_compiler_see_one_hash() -> None:
    program = "from tunedb.kernels.avg_pool import BACKWARD, FORWARD; print(FORWARD.hash, BACKWARD.hash)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found.split() == [FORWARD.hash, BACKWARD.hash]


def test_forward_and_backward_have_hashes_of_their_own() -> None:
    assert FORWARD.hash != BACKWARD.hash
