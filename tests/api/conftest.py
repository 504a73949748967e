from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support import product
from tests.support.kube import ROOT, apply, kubectl, namespace, require_cluster


@pytest.fixture(scope="session", autouse=True)
def crds() -> Iterator[None]:
    """The CRDs, and nobody who acts on objects of these kinds: one may be left of a demo."""
    require_cluster()
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "-f", str(ROOT / "crds"))
    with product.without_operator():
        yield


@pytest.fixture(scope="session")
def where(crds: None) -> Iterator[str]:  # noqa: ARG001 -- it has to be there first
    """A namespace of this session's own."""
    name = f"api-{uuid.uuid4().hex[:8]}"
    apply(namespace(name))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
