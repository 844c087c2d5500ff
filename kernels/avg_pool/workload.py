"""The tensors on which the configs of one problem of average pooling are checked and timed."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional

from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.errors import SettingError
from tunedb.runtime import loaded_kernel
from tunedb.runtime.accuracy import Comparison, mismatches
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import LoadedKernel, load, outline

from .algorithms.case import WIDEST_ALIGNMENT
from .launch import backward_launch, empty_grad_input, empty_output, forward_launch
from .problem import Pool, fresh_strides

SEED = 0
# Memory of each float64 tensor of a check (of at least one row): no more than the clock needs.
REFERENCE_BYTES = 8 * 2**20
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by itemsize


class PoolWorkload:
    """One problem's tensors and its compiled configs: a `tunedb.core.kernel.Workload`.

    `read` has the problem's layout and alignment class, and values from a normal distribution; `written` is what a
    call of the op would allocate.
    """

    def __init__(self, pool: Pool, backward: bool, index: int) -> None:
        self.pool = pool
        self.backward = backward
        self.index = index
        columns = pool.window.output_length(pool.length) if backward else pool.length
        device = torch.device("cpu") if index < 0 else torch.device("cuda", index)
        self.read = make_input(pool, columns, device)
        self.written = empty_grad_input(self.read, pool.length) if backward else empty_output(self.read, pool.window)
        self._outlines = outline(self.read), outline(self.written)
        self._loaded: dict[Config, LoadedKernel] = {}
        self._right: set[int] = set()  # digests of outputs that were right

    def prepare(self, config: Config) -> Resources:
        """Compile the config, on any thread. Raises TrialError if that fails."""
        with self._on_device():  # each thread has a current device of its own
            return loaded_kernel.prepare(self._launch(self._outlines, config))

    def compile_job(self, config: Config) -> CompileJob | None:
        """Return the job by which another process compiles the config, on any thread; None if it can't."""
        with self._on_device():
            return loaded_kernel.compile_job(self._launch(self._outlines, config))

    def compile(self, config: Config) -> Resources:
        """Compile and load the config. Raises TrialError if that fails, StickyDeviceError if the device is lost."""
        return self._load(config).resources

    def launcher(self, config: Config) -> Callable[[], object]:
        """Return a function that launches the config once on the current stream of the workload's device."""
        return functools.partial(self._load(config).run, self.read, self.written)

    def check(self, config: Config) -> str | None:
        """Launch on an output full of NaN; say how it differs from torch in float64, or return None if it does not.

        The output may differ by its own rounding, twice its dtype's epsilon, and by the accumulator's: summing k
        values of a normal distribution one by one loses about 0.7 units of roundoff after the division by k, and
        never more than a few dozen. One missing tap is off by about 1 / k: it is seen in windows of up to some 4,000
        taps in bfloat16, 30,000 in float16 and 200,000 in float32; in longer ones a config has to miss more. An output
        with the same bits as a right one is not compared again. If the output is right, the config is launched once
        more, on input with a NaN and both infinities in it, which must come out in the places where torch has them.
        """
        with self._on_device():
            self._launch_poisoned(config)
            digest = self._digest()
            if digest not in self._right:
                wrong = None if self._is_right() else self._first_wrong()
                if wrong is not None:
                    return wrong
                self._right.add(digest)
            return self._check_specials(config)

    def _launch_poisoned(self, config: Config) -> None:
        self.written.fill_(math.nan)
        self.launcher(config)()

    def _digest(self) -> int:
        """Sum all that is written, as integers with random odd factors, modulo 2**64.

        Outputs that differ in one element never have the same digest; others rarely do: of those that differ in sign
        bits alone, which count the least, one pair in 2**32, of others fewer.
        """
        batches, rows, columns = self.written.shape
        device = self.written.device
        generator = torch.Generator(device).manual_seed(SEED)
        draw = functools.partial(torch.randint, -(2**63), 2**63 - 1, generator=generator, device=device)
        down, along = draw((batches, rows)) | 1, draw((columns,)) | 1
        total = torch.zeros((), dtype=torch.int64, device=device)
        for at in self._blocks():
            bits = self.written[at].view(INTEGERS[self.pool.dtype.itemsize])
            if bits.dtype == torch.int64:  # two sign bits at the very top would cancel out
                bits = bits ^ (bits >> 32)
            total += ((bits * along).sum(-1) * down[at]).sum()
        return int(total)

    def _is_right(self) -> bool:
        """Say whether all that is written is near the reference, which is finite; NaN and infinity are near nothing.

        It waits for the device only once: each wait hands Python's lock to the threads that compile.
        """
        absolute, relative = self._tolerance
        worst = torch.zeros((), dtype=torch.float64, device=self.written.device)
        for at in self._blocks():
            expected = self._reference(self.read[at].double())
            excess = (expected - self.written[at]).abs_().sub_(expected.abs_(), alpha=relative)
            worst = torch.maximum(worst, excess.amax())  # NaN, if there is one
        return bool(worst <= absolute)

    def _first_wrong(self) -> str | None:
        """Say how many elements are wrong, and where the first of them is."""
        comparison = Comparison(*self._tolerance)
        for at in self._blocks():
            corner = at[0].start, at[1].start
            comparison.add(
                self.written[at].double(),
                self._reference(self.read[at].double()),
                lambda place, corner=corner: (place[0] + corner[0], place[1] + corner[1], place[2]),  # type: ignore[misc]
            )
        return comparison.report(self.written.numel())

    @property
    def _tolerance(self) -> tuple[float, float]:
        """Absolute and relative tolerance: see `check`."""
        accumulator = torch.float64 if self.pool.dtype == torch.float64 else torch.float32
        return 32 * torch.finfo(accumulator).eps, 2 * torch.finfo(self.pool.dtype).eps

    def _check_specials(self, config: Config) -> str | None:
        """Check the first and the last row with NaN and infinities in what is read."""
        columns = self.read.shape[-1]
        specials = {(0, 0, 0): math.inf, (0, 0, columns // 2): math.nan, (-1, -1, columns - 1): -math.inf}
        before = {place: self.read[place].clone() for place in specials}
        try:
            for place, value in specials.items():
                self.read[place] = value
            self._launch_poisoned(config)
            for row in (slice(0, 1), slice(-1, None)):
                expected = self._reference(self.read[row, row].double())
                count = int(mismatches(self.written[row, row].double(), expected, *self._tolerance).sum())
                if count:
                    return f"{count} elements of a row with NaN and infinity in it are wrong"
        finally:
            for place, finite in before.items():
                self.read[place] = finite
        return None

    def close(self) -> None:
        """Free the tensors and the compiled configs."""
        self._loaded.clear()
        del self.read, self.written

    def launch(self, config: Config) -> Launch:
        """Return the launch of this config on the workload's tensors."""
        return self._launch((self.read, self.written), config)

    def _launch(self, tensors: tuple[torch.Tensor, torch.Tensor], config: Config) -> Launch:
        build = backward_launch if self.backward else forward_launch
        return build(*tensors, self.pool.window, config)

    def _load(self, config: Config) -> LoadedKernel:
        if config not in self._loaded:
            with self._on_device():
                self._loaded[config] = load(self.launch(config))
        return self._loaded[config]

    def _on_device(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self.index < 0 else torch.cuda.device(self.index)

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield slices of batch entries and rows, of at most REFERENCE_BYTES in float64, but at least one row."""
        fitting = max(1, REFERENCE_BYTES // (8 * self.pool.length))
        entries, rows = max(1, fitting // self.pool.rows), min(fitting, self.pool.rows)
        for entry in range(0, self.pool.batch, entries):
            for row in range(0, self.pool.rows, rows):
                yield slice(entry, entry + entries), slice(row, row + rows)

    def _reference(self, block: torch.Tensor) -> torch.Tensor:
        """Return torch's own result for a float64 block of what is read."""
        window = self.pool.window
        switches = (window.ceil_mode, window.count_include_pad)
        if not self.backward:
            return functional.avg_pool1d(block, window.kernel_size, window.stride, window.padding, *switches)
        # Pooling of rows is pooling of planes that are one element high; avg_pool1d has no backward of its own.
        like = block.new_empty((*block.shape[:2], 1, self.pool.length))
        sizes = ((1, window.kernel_size), (1, window.stride), (0, window.padding))
        gradient = torch.ops.aten.avg_pool2d_backward(block.unsqueeze(2), like, *sizes, *switches, None)
        return gradient.squeeze(2)  # type: ignore[no-any-return]


def make_input(pool: Pool, columns: int, device: torch.device) -> torch.Tensor:
    """Make a tensor (batch, rows, columns) of the pool's dtype, layout and alignment class, with normal values.

    The values come from a generator of its own: torch's global one does not change. On the device `meta` there are
    none. Raises SettingError if no tensor has that alignment class.
    """
    itemsize = pool.dtype.itemsize
    unit = pool.alignment // itemsize  # elements
    batch_pitch, row_pitch, column_pitch = fresh_strides(pool.rows, columns, pool.layout)
    along, pitch = (columns, column_pitch) if pool.layout == "transposed" else (pool.rows, row_pitch)
    if unit < 1 or pool.alignment > WIDEST_ALIGNMENT or pool.alignment & (pool.alignment - 1):
        raise SettingError(f"alignment: expected a power of 2 from {itemsize} to 16, got {pool.alignment}.")
    pitch += -pitch % unit if along > 1 else 0
    if pool.layout == "transposed":
        column_pitch, batch_pitch = pitch, pitch * columns
    else:
        row_pitch, batch_pitch = pitch, pitch * pool.rows
        if pool.batch > 1:
            batch_pitch += WIDEST_ALIGNMENT // itemsize  # without it, the rows of all entries would be evenly spaced
    strides = (batch_pitch, row_pitch, column_pitch)
    size = 1 + sum((n - 1) * stride for n, stride in zip((pool.batch, pool.rows, columns), strides, strict=True))
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(SEED)
    storage = torch.empty(size + unit, dtype=pool.dtype, device=device).normal_(generator=generator)
    shape = (pool.batch, pool.rows, columns)
    read = storage[:size].as_strided(shape, strides)
    if Pool.of_input(read, pool.window).alignment != pool.alignment:  # better aligned than asked for: shift it
        read = storage.as_strided(shape, strides, unit)
    return read
