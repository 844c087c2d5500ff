"""Checks of `tunedb doctor` on bundles: which ones calls use, and which ones are left out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tunedb._internal.counted import counted
from tunedb.store.bundle_lists import BundleLists
from tunedb.store.bundles import BundleLayer
from tunedb.store.doctor.finding import Finding, Verdict, check, ok, warn


def examine_bundles(layer: BundleLayer) -> Iterator[Finding]:
    """Yield a finding for each bundle that the settings name or a package ships; one if there is none."""
    opened = check("bundles")(partial(_opened, layer))()
    if opened.status != "ok" or not (layer.names or layer.refused):
        yield opened
        return
    for name in layer.names:
        yield check("bundle")(partial(_content, layer, name))()
    for reason in layer.refused.values():
        yield check("bundle")(partial(warn, reason.fault, reason.remedy))()


def _opened(layer: BundleLayer) -> Verdict:
    layer.opened()
    return ok("none is named in TUNEDB_BUNDLES, and no installed package has one")


def _content(layer: BundleLayer, name: str) -> Verdict:
    sweeps = [sweep for sweep in BundleLists(layer).iter_sweeps() if sweep.bundle == name]
    kernels = sorted({sweep.problem.kernel for sweep in sweeps})
    devices = sorted({sweep.device.name for sweep in sweeps})
    return ok(f"{name}: {counted(len(sweeps), 'sweep')} of {', '.join(kernels)} on {', '.join(devices)}")
