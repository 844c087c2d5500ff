"""Known GPUs: the labels under which other tools file them, and the facts that their drivers report.

Each names the page that says how many multiprocessors it has. If no such page was found, the number is None, and the
page is one that has the GPU's name. NVIDIA's compute capabilities are from https://developer.nvidia.com/cuda-gpus; a
GPU that is not listed there has that of others with the same chip. AMD's targets are from the page itself.
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
    source: str  # a public page
    labels: tuple[str, ...] = ()

    @property
    def device(self) -> Device | None:
        """The device; None if its multiprocessors are not known."""
        if self.multiprocessors is None:
            return None
        return Device(self.name, self.backend, self.arch, self.multiprocessors)


_GITHUB = "https://github.com"
_NVIDIA = "https://images.nvidia.com"
_XLA = f"{_GITHUB}/openxla/xla/blob/main/xla/backends/gpu/target_config/specs"  # descriptions of devices, as reported
_ROCM = "https://rocm.docs.amd.com/en/latest/reference/gpu-specs.html"
_VOLTA = f"{_NVIDIA}/content/volta-architecture/pdf/volta-architecture-whitepaper.pdf"
_AMPERE = f"{_NVIDIA}/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf"
_MOE = f"{_GITHUB}/vllm-project/vllm/tree/main/vllm/model_executor/layers/fused_moe/configs"  # names alone
_ALIASES = f"{_GITHUB}/vllm-project/vllm/blob/main/vllm/kernels/helion/utils.py"  # names alone
_ADA = (
    "https://www.storagereview.com/review/nvidia-l40s-for-omniverse-from-openusd-scenes-to-physics-aware-world-models"
)
_CUDA = "https://developer.nvidia.com/cuda-gpus"
_T4 = "https://chiemon.github.io/2024/12/25/%E6%98%BE%E5%8D%A1%E4%BF%A1%E6%81%AF.html"
_A10 = "https://sysrqmts.com/ru/gpus/compare/nvidia-a10-pcie-vs-nvidia-quadro-rtx-4000"
_A10G = "https://meta-pytorch.org/torchcodec/stable/generated_examples/decoding/basic_cuda_example.html"
_L4 = f"{_GITHUB}/bottlerocket-os/bottlerocket-kernel-kit/pull/139"
_5880 = f"{_GITHUB}/AlexsJones/llmfit/pull/796"  # the name alone
_4090 = f"{_GITHUB}/pc2/GPUInspector.jl/issues/11"
_GH200 = f"{_GITHUB}/vllm-project/vllm/pull/12717"
_GB10 = "https://ai-infrastructure.net/dgx-spark/"
_A40_AND_L20 = "https://www.topcpu.net/en/gpu-c/a40-pcie-vs-l20"

KNOWN_DEVICES = (
    KnownDevice("Tesla V100-SXM2-16GB", "cuda", "sm_70", 80, f"{_XLA}/v100.txtpb"),
    KnownDevice("Tesla V100-SXM2-32GB", "cuda", "sm_70", 80, _VOLTA),
    KnownDevice("Tesla V100-PCIE-16GB", "cuda", "sm_70", 80, _VOLTA),
    KnownDevice("Tesla T4", "cuda", "sm_75", 40, _T4, ("NVIDIA T4", "T4")),
    KnownDevice("NVIDIA A100-SXM4-40GB", "cuda", "sm_80", 108, f"{_XLA}/a100_sxm_40.txtpb", ("A100-SXM4-40GB",)),
    KnownDevice(
        "NVIDIA A100-SXM4-80GB", "cuda", "sm_80", 108, f"{_XLA}/a100_sxm_80.txtpb",
        ("NVIDIA A100", "A100", "A100-SXM4-80GB"),
    ),
    KnownDevice("NVIDIA A100-PCIE-40GB", "cuda", "sm_80", 108, _AMPERE, ("A100-PCIE-40GB",)),
    KnownDevice("NVIDIA A100 80GB PCIe", "cuda", "sm_80", 108, f"{_XLA}/a100_pcie_80.txtpb", ("A100 80GB PCIe",)),
    KnownDevice("NVIDIA A800-SXM4-80GB", "cuda", "sm_80", None, _MOE, ("NVIDIA A800", "A800")),
    KnownDevice("NVIDIA A30", "cuda", "sm_80", 56, f"{_GITHUB}/ProjectPhysX/FluidX3D/issues/8", ("A30",)),
    KnownDevice("NVIDIA A10", "cuda", "sm_86", 72, _A10, ("A10",)),
    KnownDevice("NVIDIA A10G", "cuda", "sm_86", 80, _A10G, ("A10G",)),
    KnownDevice("NVIDIA A40", "cuda", "sm_86", 84, _A40_AND_L20, ("A40",)),
    KnownDevice("NVIDIA RTX A6000", "cuda", "sm_86", 84, f"{_XLA}/a6000.txtpb", ("RTX A6000",)),
    KnownDevice("NVIDIA GeForce RTX 3090", "cuda", "sm_86", 82, f"{_GITHUB}/m4rs-mt/ILGPU/pull/389", ("RTX 3090",)),
    KnownDevice("NVIDIA L4", "cuda", "sm_89", 58, _L4, ("L4",)),
    KnownDevice("NVIDIA L20", "cuda", "sm_89", 92, _A40_AND_L20, ("L20",)),
    KnownDevice("NVIDIA L40", "cuda", "sm_89", 142, _ADA, ("L40",)),  # one RT core a multiprocessor
    KnownDevice("NVIDIA L40S", "cuda", "sm_89", 142, _ADA, ("L40S",)),
    KnownDevice("NVIDIA RTX 6000 Ada Generation", "cuda", "sm_89", None, _CUDA, ("RTX 6000 Ada",)),
    KnownDevice("NVIDIA RTX 5880 Ada Generation", "cuda", "sm_89", None, _5880, ("RTX 5880 Ada",)),
    KnownDevice("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128, _4090, ("RTX 4090",)),
    KnownDevice(
        "NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132, f"{_XLA}/h100_sxm.txtpb", ("NVIDIA H100", "H100", "H100 SXM")
    ),
    KnownDevice("NVIDIA H100 PCIe", "cuda", "sm_90", 114, f"{_XLA}/h100_pcie.txtpb", ("H100 PCIe",)),
    KnownDevice("NVIDIA H100 NVL", "cuda", "sm_90", None, _ALIASES, ("H100 NVL",)),
    KnownDevice("NVIDIA H800", "cuda", "sm_90", None, _MOE, ("H800",)),
    KnownDevice("NVIDIA H20", "cuda", "sm_90", 78, "https://zangshuxian.com/new/674733024499207168", ("H20",)),
    KnownDevice("NVIDIA H20-3e", "cuda", "sm_90", None, _MOE, ("H20-3e",)),
    KnownDevice("NVIDIA H200", "cuda", "sm_90", 132, f"{_XLA}/h200.txtpb", ("H200", "NVIDIA H200 141GB HBM3e")),
    KnownDevice("NVIDIA H200 NVL", "cuda", "sm_90", None, _ALIASES, ("H200 NVL",)),
    KnownDevice("NVIDIA GH200 480GB", "cuda", "sm_90", None, _GH200, ("NVIDIA GH200", "GH200")),
    KnownDevice("NVIDIA B200", "cuda", "sm_100", 148, f"{_XLA}/b200.txtpb", ("B200",)),
    KnownDevice("NVIDIA GB200", "cuda", "sm_100", 152, f"{_XLA}/gb200.txtpb", ("GB200",)),
    KnownDevice("NVIDIA B300 SXM6 AC", "cuda", "sm_103", None, _MOE, ("NVIDIA B300", "B300")),
    KnownDevice("NVIDIA GB300", "cuda", "sm_103", 152, f"{_XLA}/gb300.txtpb", ("GB300",)),
    KnownDevice("NVIDIA GeForce RTX 5090", "cuda", "sm_120", 170, f"{_GITHUB}/NVIDIA/nccl/issues/1637", ("RTX 5090",)),
    KnownDevice("NVIDIA RTX PRO 6000 Blackwell Server Edition", "cuda", "sm_120", 188, f"{_XLA}/rtx6000pro.txtpb"),
    KnownDevice("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "cuda", "sm_120", 188, f"{_XLA}/rtx6000pro.txtpb"),
    KnownDevice(
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "cuda", "sm_120", 188, f"{_XLA}/rtx6000pro.txtpb"
    ),
    KnownDevice("NVIDIA GB10", "cuda", "sm_121", 48, _GB10, ("GB10",)),  # 6,144 cores, 128 a multiprocessor
    KnownDevice("AMD Instinct MI210", "hip", "gfx90a", 104, _ROCM, ("MI210",)),
    KnownDevice("AMD Instinct MI250X", "hip", "gfx90a", 110, _ROCM, ("MI250X", "AMD Instinct MI250X/MI250")),
    KnownDevice("AMD Instinct MI300X", "hip", "gfx942", 304, _ROCM, ("MI300X", "AMD Instinct MI300X OAM")),
    KnownDevice("AMD Instinct MI325X", "hip", "gfx942", 304, _ROCM, ("MI325X", "AMD Instinct MI325 OAM")),
    KnownDevice("AMD Instinct MI350X", "hip", "gfx950", 256, _ROCM, ("MI350X", "AMD Instinct MI350 OAM")),
    KnownDevice("AMD Instinct MI355X", "hip", "gfx950", 256, _ROCM, ("MI355X", "AMD Instinct MI355 OAM")),
)  # fmt: skip


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
