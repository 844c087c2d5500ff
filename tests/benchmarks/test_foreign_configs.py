"""The count of what is read of other tools' files: names, entries, devices and faults, of a folder and of a wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.foreign_configs import counted, unpacked
from tests.store.foreign.samples import KNOBS, put


def test_a_folder_and_a_wheel_give_the_same_counts(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    put(folder / "moe" / "E=8,N=2,device_name=NVIDIA_L4,dtype=fp8_w8a8_down.json", {"1": KNOBS, "2": KNOBS})
    put(folder / "gemm" / "N=8,K=2,device_name=Some_GPU,block_shape=[1, 2].json", {"1": KNOBS, "2": None})
    put(folder / "other.json", {})
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(folder.rglob("*.json")):
            archive.write(path, path.relative_to(folder))
    for source in (folder, wheel):
        with unpacked(source) as unpacked_folder:
            counts = counted(unpacked_folder)
        (rejected,) = counts.pop("rejected")
        assert rejected.endswith("block_shape=[1, 2].json: 2: expected an object with a config's knobs, got None")
        assert counts == {
            "names": {"gemm": 1, "moe": 1}, "read_whole": {"gemm": 0, "moe": 1}, "entries": {"gemm": 1, "moe": 2},
            "all_entries": 3, "unknown_devices": {"Some_GPU": 1},
        }  # fmt: skip
