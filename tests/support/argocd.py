"""The scripts of examples/gitops/argocd, and the ConfigMap that is generated from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dbt_operator.api.base import GROUP
from dbt_operator.api.registry import BACKFILL, KINDS, RUN, SCHEDULE
from tests.support.places import ROOT

FOLDER = ROOT / "examples" / "gitops" / "argocd"
CONFIG_MAP = FOLDER / "argocd-cm.yaml"
# Where the actions of a kind are.
_ACTIONS = {
    SCHEDULE.kind: FOLDER / "actions" / "schedule",
    RUN.kind: FOLDER / "actions" / "cancel",
    BACKFILL.kind: FOLDER / "actions" / "cancel",
}
_HEADER = """\
# Generated from the scripts beside it by WRITE_GOLDEN=1 pytest tests/unit/gitops. Do not edit.
# It is a patch of the ConfigMap that Argo CD has, and not to be applied: docs/gitops.md says how.
"""


@cache
def health_script() -> str:
    """What tells the health of an object of any kind of ours."""
    return (FOLDER / "health.lua").read_text()


def discovery_script(kind: str) -> str:
    """What says which actions an object of a kind has now."""
    return (_ACTIONS[kind] / "discovery.lua").read_text()


def action_scripts(kind: str) -> dict[str, str]:
    """What carries out each action of a kind."""
    paths = sorted(_ACTIONS[kind].glob("*.lua")) if kind in _ACTIONS else []
    return {path.stem: path.read_text() for path in paths if path.stem != "discovery"}


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120)


def _dump_actions(kind: str) -> str:
    definitions = [
        {"name": name, "action.lua": script} for name, script in action_scripts(kind).items()
    ]
    return _dump({"discovery.lua": discovery_script(kind), "definitions": definitions})


def make_config_map() -> str:
    """What Argo CD reads: the health of each kind, and the actions of those that have some."""
    settings = "resource.customizations"
    data = {f"{settings}.health.{GROUP}_{kind.kind}": health_script() for kind in KINDS}
    data |= {
        f"{settings}.actions.{GROUP}_{kind.kind}": _dump_actions(kind.kind)
        for kind in KINDS
        if kind.kind in _ACTIONS
    }
    metadata = {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}}
    return _HEADER + _dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )


def read_config_map(path: Path = CONFIG_MAP) -> dict[str, str]:
    """The settings as they are committed."""
    found: dict[str, str] = yaml.safe_load(path.read_text())["data"]
    return found
