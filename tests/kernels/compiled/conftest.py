"""These tests compile the kernels for GPUs that need not be here: TRITON_INTERPRET is not set."""

import pytest

from tunedb.compiled import is_interpreted
from tunedb.kernels.avg_pool.kernel import avg_pool1d_forward_kernel


@pytest.fixture(scope="session", autouse=True)
def compiler() -> None:
    if is_interpreted(avg_pool1d_forward_kernel):
        pytest.skip("needs Triton's compiler: start pytest without TRITON_INTERPRET")
