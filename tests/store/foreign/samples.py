"""Files of other tools, with made-up values: every grammar of their names, and every body."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEVICES = (
    "NVIDIA_H100_80GB_HBM3", "NVIDIA_A100-SXM4-80GB", "NVIDIA_A100_80GB_PCIe", "NVIDIA_B300_SXM6_AC",
    "AMD_Instinct_MI300X", "Intel(R)_Arc(TM)_Pro_B70_Graphics", "Radeon_8060S_Graphics",
)  # fmt: skip
DTYPES = (None, "fp8_w8a8", "int8_w8a16", "int8_w8a8", "int4_w4a16", "bf16", "float8")
KNOBS = {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 128, "GROUP_SIZE_M": 1, "num_warps": 4}
CUTE = {"tile_m": 128, "tile_n": 64, "tile_k": 32, "tile_n2": 64, "tile_k2": 32}


def names() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every form of a name, with the fields that are to be read in it."""
    for device, dtype, blank in itertools.product(DEVICES, DTYPES, ("", " ")):
        fields: dict[str, Any] = {"device_name": device, **({} if dtype is None else {"dtype": dtype})}
        kind = "" if dtype is None else f",dtype={dtype}"
        shape = f",block_shape=[128,{blank}64]"
        shaped = {"block_n": 128, "block_k": 64}
        for down, channel in itertools.product((False, True), repeat=2):
            suffix = f"{',per_channel_quant=True' if channel else ''}{'_down' if down else ''}.json"
            more = {**({"per_channel_quant": True} if channel else {}), **({"down": True} if down else {})}
            moe = {"E": 8, "N": 3584, **fields, **more}
            yield f"E=8,N=3584,device_name={device}{kind}{suffix}", moe
            yield f"E=8,N=3584,device_name={device}{kind}{shape}{suffix}", {**moe, **shaped}
        gemm = {"N": 1536, "K": 7168, **fields}
        yield f"N=1536,K=7168,device_name={device}{kind}{shape}.json", {**gemm, **shaped}
        yield f"N=1536,K=7168,device_name={device}{kind}.json", gemm
    for device in DEVICES:
        for dtype in ("float16", "float32"):
            state = {"headdim": 64, "dstate": 128, "device_name": device, "cache_dtype": dtype}
            yield f"headdim=64,dstate=128,device_name={device},cache_dtype={dtype}.json", state
        channel = {"N": 512, "K": 256, "device_name": device, "dtype": "fp8_w8a8_channelwise"}
        yield f"N=512,K=256,device_name={device},dtype=fp8_w8a8_channelwise.json", channel
    for name in ("NVIDIA_H200", "NVIDIA_A100_SXM4_80GB"):
        yield f"{name}_SHRINK.json", {"device_name": name, "op": "shrink"}
        yield f"{name}_EXPAND_TRUE.json", {"device_name": name, "op": "expand", "add_inputs": True}
        yield f"{name}_EXPAND_FALSE.json", {"device_name": name, "op": "expand", "add_inputs": False}
        op = "FUSED_MOE_LORA_W13_SHRINK"
        yield f"{name}_{op}.json", {"device_name": name, "op": op.lower()}


def put(path: Path, content: object) -> Path:
    """Write a JSON file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=4) + "\n")
    return path


def autotune(key: list[Any], times: dict[int, Any]) -> dict[str, Any]:
    """The content of Triton's cache file: a time in ms, or infinity, by BLOCK."""
    return {
        "key": key,
        "configs_timings": [
            [
                {"kwargs": {"BLOCK": block}, "num_warps": 4, "num_ctas": 1, "num_stages": 3, "maxnreg": None,
                 "pre_hook": None, "ir_override": None},
                time if isinstance(time, list) else [time, time, time],
            ]
            for block, time in times.items()
        ],
    }  # fmt: skip


DEJAVU = {
    "signature": "JITFunction(mine.ops:matmul)", "total_bench_time_s": 2.5, "evaluated_configs": 2, "keys": ["M", "N"],
    "cache": {
        "(32, 128, 'torch.float16')": "BLOCK: 128, SPLIT: True, num_warps: 4, num_ctas: 1, num_stages: 1, maxnreg: None"
    },
    "timings": {"(32, 128, 'torch.float16')": [0.012, 0.011, 0.013]},
    "timings_data": {"labels": ["ms", "min_ms", "max_ms"], "rep_t_ms": 100, "warmup_t_ms": 25, "cuda_graphs": False},
}  # fmt: skip
DEJAVU_FOLDER = "dejavu_0.7/triton_3.2.0/cuda_12.4/gpu_NVIDIA_L4/matmul/autotune_config-ab/code_version-cd/default"
KERNEL_TUNER = {
    "device_name": "NVIDIA L4", "kernel_name": "matmul", "problem_size": [1024, 8], "tune_params_keys": ["BLOCK"],
    "tune_params": {"BLOCK": [64, 128, 256]}, "objective": "time",
    "cache": {
        "64": {"BLOCK": 64, "time": 0.5}, "128": {"BLOCK": 128, "time": 0.25},
        "256": {"BLOCK": 256, "time": "CompilationFailedConfig"}, "512": {"BLOCK": 512, "time": 1e20},
    },
}  # fmt: skip
