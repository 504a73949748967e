"""The layout of examples/production, built as Kustomize builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.judge import build_kustomization
from tests.support.places import ROOT

FOLDER = ROOT / "examples" / "production"
OVERLAYS = ("overlays/dev", "overlays/prod", "argocd/prod")


def build(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay."""
    return list(yaml.safe_load_all(build_kustomization(FOLDER / Path(overlay))))
