"""These tests compile the kernels for GPUs that need not be here: TRITON_INTERPRET is not set."""

import pytest

from tunedb.kernels.avg_pool.jit import avg_pool1d_forward_kernel
from tunedb.runtime.compat_triton import is_interpreted


@pytest.fixture(scope="session", autouse=True)
def compiler() -> None:
    """Where the interpreter has taken the compiler's place, the other half of `make test` runs these."""
    if is_interpreted(avg_pool1d_forward_kernel):
        # Triton makes that choice once, when it is imported; `make test` runs these without the interpreter as well.
        pytest.skip("needs Triton's compiler: start pytest without TRITON_INTERPRET")
