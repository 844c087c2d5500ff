"""Kubernetes manifests of the guides fit the schema of the API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
yaml = pytest.importorskip("yaml", reason="needs PyYAML, which kubernetes-validate installs")

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
MANIFESTS = [
    (page.name, manifest)
    for page in sorted(GUIDE.glob("*.md"))
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    for manifest in yaml.safe_load_all(block)
    if isinstance(manifest, dict) and "apiVersion" in manifest
]


def test_there_are_manifests() -> None:
    assert MANIFESTS


@pytest.mark.parametrize(("page", "manifest"), MANIFESTS)
def test_a_manifest_fits_the_schema(page: str, manifest: dict[str, object]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
