"""These tests run the kernels on the CPU, in Triton's interpreter: TRITON_INTERPRET=1 is set before pytest starts."""

import pytest

from tunedb.compiled import is_interpreted
from tunedb.kernels.avg_pool.kernel import avg_pool1d_forward_kernel


@pytest.fixture(scope="session", autouse=True)
def interpreter() -> None:
    if not is_interpreted(avg_pool1d_forward_kernel):
        pytest.skip("needs Triton's interpreter: set TRITON_INTERPRET=1 before pytest starts")
