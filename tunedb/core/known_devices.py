"""Known GPUs: the labels under which other tools file them, and the facts that their drivers report.

Sources: compute capabilities from https://developer.nvidia.com/cuda-gpus (A10G, L20, H20: what torch prints of them);
multiprocessors from NVIDIA's architecture whitepapers (V100, T4, A100, GA102, Ada, H100) and product data sheets, and
checked against `torch.cuda.get_device_properties` as it stands in public logs (T4, A10G, A40, RTX A6000, 3090, 4090,
RTX 6000 Ada, L40S, H20, H100 PCIe, H200, B200, GB10, MI250X, MI300X); compute units from
https://rocm.docs.amd.com/en/latest/reference/gpu-specs.html. What no source gives is None.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from tunedb.core.device import Device

_SEPARATORS = re.compile(r"[\s/\-_]+")


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A GPU by the name that its driver reports, and other labels of it, written as they are met."""

    name: str
    backend: str
    arch: str
    multiprocessors: int | None
    labels: tuple[str, ...] = ()

    @property
    def device(self) -> Device | None:
        """The device; None if its multiprocessors are not known."""
        if self.multiprocessors is None:
            return None
        return Device(self.name, self.backend, self.arch, self.multiprocessors)


KNOWN_DEVICES = (
    KnownDevice("Tesla V100-SXM2-16GB", "cuda", "sm_70", 80),
    KnownDevice("Tesla V100-SXM2-32GB", "cuda", "sm_70", 80),
    KnownDevice("Tesla V100-PCIE-16GB", "cuda", "sm_70", 80),
    KnownDevice("Tesla T4", "cuda", "sm_75", 40, ("NVIDIA T4", "T4")),
    KnownDevice("NVIDIA A100-SXM4-40GB", "cuda", "sm_80", 108, ("A100-SXM4-40GB",)),
    KnownDevice("NVIDIA A100-SXM4-80GB", "cuda", "sm_80", 108, ("NVIDIA A100", "A100", "A100-SXM4-80GB")),
    KnownDevice("NVIDIA A100-PCIE-40GB", "cuda", "sm_80", 108, ("A100-PCIE-40GB",)),
    KnownDevice("NVIDIA A100 80GB PCIe", "cuda", "sm_80", 108, ("A100 80GB PCIe",)),
    KnownDevice("NVIDIA A800-SXM4-80GB", "cuda", "sm_80", None, ("NVIDIA A800", "A800")),
    KnownDevice("NVIDIA A30", "cuda", "sm_80", 56, ("A30",)),
    KnownDevice("NVIDIA A10", "cuda", "sm_86", 72, ("A10",)),
    KnownDevice("NVIDIA A10G", "cuda", "sm_86", 80, ("A10G",)),
    KnownDevice("NVIDIA A40", "cuda", "sm_86", 84, ("A40",)),
    KnownDevice("NVIDIA RTX A6000", "cuda", "sm_86", 84, ("RTX A6000",)),
    KnownDevice("NVIDIA GeForce RTX 3090", "cuda", "sm_86", 82, ("RTX 3090",)),
    KnownDevice("NVIDIA L4", "cuda", "sm_89", 58, ("L4",)),
    KnownDevice("NVIDIA L20", "cuda", "sm_89", 92, ("L20",)),
    KnownDevice("NVIDIA L40", "cuda", "sm_89", 142, ("L40",)),
    KnownDevice("NVIDIA L40S", "cuda", "sm_89", 142, ("L40S",)),
    KnownDevice("NVIDIA RTX 6000 Ada Generation", "cuda", "sm_89", 142, ("RTX 6000 Ada",)),
    KnownDevice("NVIDIA RTX 5880 Ada Generation", "cuda", "sm_89", None, ("RTX 5880 Ada",)),
    KnownDevice("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128, ("RTX 4090",)),
    KnownDevice("NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132, ("NVIDIA H100", "H100", "H100 SXM")),
    KnownDevice("NVIDIA H100 PCIe", "cuda", "sm_90", 114, ("H100 PCIe",)),
    KnownDevice("NVIDIA H100 NVL", "cuda", "sm_90", None, ("H100 NVL",)),
    KnownDevice("NVIDIA H800", "cuda", "sm_90", None, ("H800",)),
    KnownDevice("NVIDIA H20", "cuda", "sm_90", 78, ("H20",)),
    KnownDevice("NVIDIA H20-3e", "cuda", "sm_90", 78, ("H20-3e",)),
    KnownDevice("NVIDIA H200", "cuda", "sm_90", 132, ("H200", "NVIDIA H200 141GB HBM3e")),
    KnownDevice("NVIDIA H200 NVL", "cuda", "sm_90", None, ("H200 NVL",)),
    KnownDevice("NVIDIA GH200 480GB", "cuda", "sm_90", 132, ("NVIDIA GH200", "GH200")),
    KnownDevice("NVIDIA B200", "cuda", "sm_100", 148, ("B200",)),
    KnownDevice("NVIDIA GB200", "cuda", "sm_100", None, ("GB200",)),
    KnownDevice("NVIDIA B300 SXM6 AC", "cuda", "sm_103", None, ("NVIDIA B300", "B300")),
    KnownDevice("NVIDIA GB300", "cuda", "sm_103", None, ("GB300",)),
    KnownDevice("NVIDIA GeForce RTX 5090", "cuda", "sm_120", 170, ("RTX 5090",)),
    KnownDevice("NVIDIA RTX PRO 6000 Blackwell Server Edition", "cuda", "sm_120", 188),
    KnownDevice("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "cuda", "sm_120", 188),
    KnownDevice("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "cuda", "sm_120", 188),
    KnownDevice("NVIDIA GB10", "cuda", "sm_121", 48, ("GB10",)),
    KnownDevice("AMD Instinct MI210", "hip", "gfx90a", 104, ("MI210",)),
    KnownDevice("AMD Instinct MI250X", "hip", "gfx90a", 110, ("MI250X", "AMD Instinct MI250X/MI250")),
    KnownDevice("AMD Instinct MI300X", "hip", "gfx942", 304, ("MI300X", "AMD Instinct MI300X OAM")),
    KnownDevice("AMD Instinct MI325X", "hip", "gfx942", 304, ("MI325X", "AMD Instinct MI325 OAM")),
    KnownDevice("AMD Instinct MI350X", "hip", "gfx950", 256, ("MI350X", "AMD Instinct MI350 OAM")),
    KnownDevice("AMD Instinct MI355X", "hip", "gfx950", 256, ("MI355X", "AMD Instinct MI355 OAM")),
)


def spelling(label: str) -> str:
    """Return a label in one spelling: lower case, with one underscore for blanks, slashes and hyphens in a row."""
    return _SEPARATORS.sub("_", label.strip()).lower()


def known_device(label: str) -> KnownDevice | None:
    """Return the GPU that a label names, in any spelling; None if it is not in the table."""
    return _by_spelling().get(spelling(label))


def device_label(name: str) -> str:
    """Return the one label of a device, whether the name is a driver's or another tool's.

    That of a GPU that is not in the table is its name, in one spelling.
    """
    known = known_device(name)
    return spelling(name if known is None else known.name)


@functools.cache
def _by_spelling() -> dict[str, KnownDevice]:
    return {spelling(label): known for known in KNOWN_DEVICES for label in (known.name, *known.labels)}
