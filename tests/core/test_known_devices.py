"""Known devices: every spelling of other tools leads to the GPU, no label is two GPUs', and facts are the drivers'."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from benchmarks.shipped import BUNDLE, in_bundle
from tunedb.core.known_devices import KNOWN_DEVICES, device_label, known_device, spelling


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA_H100_80GB_HBM3", "NVIDIA H100 80GB HBM3"),
        ("nvidia_h100", "NVIDIA H100 80GB HBM3"),
        ("NVIDIA_A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA_A100_80GB_PCIe", "NVIDIA A100 80GB PCIe"),
        ("NVIDIA_H200", "NVIDIA H200"),
        ("NVIDIA_B300_SXM6_AC", "NVIDIA B300 SXM6 AC"),
        ("AMD_Instinct_MI300X", "AMD Instinct MI300X"),
        ("MI325X", "AMD Instinct MI325X"),
        ("AMD_Instinct_MI250X_MI250", "AMD Instinct MI250X"),
        ("NVIDIA L4", "NVIDIA L4"),
        (" nvidia  l4 ", "NVIDIA L4"),
    ],
)
def test_a_label_of_another_tool_leads_to_the_name_that_the_driver_reports(label: str, name: str) -> None:
    known = known_device(label)
    assert known is not None
    assert known.name == name
    assert device_label(label) == device_label(name)


def test_a_label_that_is_not_in_the_table_is_its_own() -> None:
    assert known_device("Intel(R)_Arc(TM)_Pro_B70_Graphics") is None
    assert device_label("Intel(R) Arc(TM) Pro B70 Graphics") == device_label("Intel(R)_Arc(TM)_Pro_B70_Graphics")
    assert device_label("NVIDIA_H100_PCIe") != device_label("NVIDIA_H100_80GB_HBM3")
    assert device_label("NVIDIA H200 NVL") != device_label("NVIDIA H200")


def test_no_label_belongs_to_two_devices_and_each_device_is_one() -> None:
    labels = [(spelling(label), known.name) for known in KNOWN_DEVICES for label in {known.name, *known.labels}]
    assert len({label for label, _ in labels}) == len(set(labels))
    for known in KNOWN_DEVICES:
        assert known.backend in ("cuda", "hip")
        assert known.arch.startswith("sm_" if known.backend == "cuda" else "gfx")
        assert (known.device is None) == (known.multiprocessors is None)


def test_each_device_names_the_public_page_that_its_facts_are_from() -> None:
    for known in KNOWN_DEVICES:
        source = urlsplit(known.source)
        assert source.scheme == "https", known
        assert "." in source.netloc, known
        assert len(source.path) > 1, known
    names_alone = {known.source for known in KNOWN_DEVICES if known.multiprocessors is None}
    assert not names_alone & {known.source for known in KNOWN_DEVICES if known.multiprocessors is not None}


def test_a_gpu_that_something_was_tuned_on_has_the_facts_that_its_driver_reported() -> None:
    measured = {sweep.device for sweep in in_bundle(BUNDLE)}
    assert len(measured) > 1
    for device in measured:
        known = known_device(device.name)
        assert known is not None
        assert known.device == device


def test_a_gpu_whose_multiprocessors_no_page_says_is_known_by_its_labels_alone() -> None:
    known = known_device("RTX_5880_Ada")
    assert known is not None
    assert (known.name, known.device) == ("NVIDIA RTX 5880 Ada Generation", None)
