"""What the README and examples/ show is what the API server takes."""

from __future__ import annotations

import re

import yaml

from tests.support.kube import ROOT, Manifest, command, create
from tests.support.product import EXAMPLES

VALUES = "# values of the chart"
OURS = "dbt-operator.dev/v1alpha1"


def moved(manifest: Manifest, where: str) -> Manifest:
    """The same object in a namespace of the tests."""
    return manifest | {"metadata": manifest["metadata"] | {"namespace": where}}


def find_blocks() -> list[str]:
    """Each block of YAML in the README."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_the_values_of_the_readme_are_accepted() -> None:
    blocks = [block for block in find_blocks() if block.startswith(VALUES)]
    assert blocks
    chart = str(ROOT / "charts" / "dbt-operator")
    for block in blocks:
        argv = ("template", "x", chart, "--kube-version=1.34.4", "--values", "-")
        rendered = command("helm", *argv, stdin=block)
        assert all(name in rendered for name in yaml.safe_load(block)["notifications"]["channels"])


def test_the_manifests_of_the_readme_are_accepted(where: str) -> None:
    blocks = [block for block in find_blocks() if not block.startswith(VALUES)]
    manifests = [manifest for block in blocks for manifest in yaml.safe_load_all(block)]
    assert {manifest["kind"] for manifest in manifests} == {
        "DbtTarget",
        "DbtProject",
        "DbtRun",
        "DbtBackfill",
        "DbtSchedule",
    }
    for manifest in manifests:
        created = create(moved(manifest, where))
        assert created["spec"] == manifest["spec"]


def test_the_examples_are_accepted(where: str) -> None:
    paths = sorted(EXAMPLES.glob("*.yaml"))
    manifests = [
        m for path in paths for m in yaml.safe_load_all(path.read_text()) if m["apiVersion"] == OURS
    ]
    assert len(manifests) == 7
    for manifest in manifests:
        manifest["metadata"]["name"] += "-example"
        assert create(moved(manifest, where))["spec"] == manifest["spec"]
