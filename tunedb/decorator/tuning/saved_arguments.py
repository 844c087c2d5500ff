"""The memory of a call's tensors as it was before a sweep, to undo what the launches of the sweep write.

A tensor's whole storage is saved, as far as that takes little more memory than the tensor itself: a kernel that gets
a view may write around it, and elements that share memory can only be restored together. Memory that no argument
belongs to, such as that behind a table of pointers, is not saved.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from tunedb._internal.control import let_pass
from tunedb.runtime.accuracy import is_same
from tunedb.runtime.bits import as_numbers

MAX_AROUND_BYTES = 64 * 2**20  # saved of the storages of one call beyond its tensors. Chosen, not measured

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True, eq=False)
class _Saved:
    """A part of memory and its copy: a storage as bytes with the tensors in it, or the elements of one tensor."""

    memory: torch.Tensor
    copy: torch.Tensor
    tensors: Mapping[str, torch.Tensor]
    is_storage: bool

    def now(self, name: str) -> torch.Tensor:
        """Return a tensor's elements."""
        return _view(self.tensors[name], self.memory) if self.is_storage else self.memory

    def before(self, name: str) -> torch.Tensor:
        """Return a tensor's elements as they were."""
        return _view(self.tensors[name], self.copy) if self.is_storage else self.copy


class SavedArguments:
    """The saved memory of a call's tensors, by the tensors' names."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], max_around: int) -> None:
        self._parts: list[_Saved] = []
        by_storage: dict[tuple[torch.device, int], dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if tensor.numel():
                by_storage.setdefault((tensor.device, _address(tensor)), {})[name] = tensor
        for (_, address), of in by_storage.items():
            around = _bytes_around(of) if address else max_around + 1
            if around <= max_around:
                max_around -= max(0, around)
                memory = _storage(next(iter(of.values())))
                self._parts.append(_Saved(memory, memory.clone(), of, True))
                continue
            for name, tensor in of.items():
                if _is_writable(tensor):
                    memory = as_numbers(tensor.data)  # `data`: autograd must not see what is restored
                    self._parts.append(_Saved(memory, memory.clone(), {name: tensor}, False))

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> SavedArguments | None:
        """Save what fits into memory: the storages, else the tensors; return None if not even these fit."""
        for max_around in (MAX_AROUND_BYTES, -1):
            try:
                return cls(tensors, max_around)
            except (torch.OutOfMemoryError, MemoryError):
                continue
        _log.info("Too little memory to compare the configs' results: they are only timed.")
        return None

    @property
    def names(self) -> set[str]:
        """The names of the tensors that are saved."""
        return {name for part in self._parts for name in part.tensors}

    def restore(self) -> None:
        """Write back all that is saved."""
        for part in self._parts:
            part.memory.copy_(part.copy)

    def restore_only(self, names: Collection[str]) -> None:
        """Write back these tensors, and what shares memory with their elements."""
        for part in self._parts:
            for name in set(names) & set(part.tensors):
                if _is_writable(part.tensors[name]):
                    as_numbers(part.now(name)).copy_(as_numbers(part.before(name)))
                else:
                    part.memory.copy_(part.copy)

    def keep_changed(self, others: Collection[str]) -> set[str]:
        """Drop the copies of memory that has not changed, except of `others`; return the names of changed tensors."""
        changed = [part for part in self._parts if not is_same(part.memory, part.copy)]
        self._parts = [part for part in self._parts if part in changed or set(others) & set(part.tensors)]
        return {name for part in changed for name in part.tensors if not is_same(part.now(name), part.before(name))}


def _address(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's storage; 0 if it has none that can be read, as some subclasses do."""
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError as error:
        let_pass(error)
        return 0


def _bytes_around(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return by how much the storage of these tensors is larger than they are."""
    storage = next(iter(tensors.values())).untyped_storage()
    return storage.nbytes() - sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _storage(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's whole storage as bytes. Autograd does not see what is written into them."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def _view(tensor: torch.Tensor, storage: torch.Tensor) -> torch.Tensor:
    """Return the elements that a tensor with this tensor's place has in another storage."""
    empty = torch.empty(0, dtype=tensor.dtype, device=storage.device)
    return empty.set_(storage.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def _is_writable(tensor: torch.Tensor) -> bool:
    """Say whether no elements of a tensor share memory."""
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return not any(size > 1 and stride == 0 for size, stride in axes)
