"""Who keeps objects as a repository or a release has them, and how that is seen."""

from __future__ import annotations

from collections.abc import Mapping

# What those put on each object. app.kubernetes.io/instance is how Argo CD marks its objects where
# it was not told otherwise; charts set it too, and then Helm manages the object.
_MANAGERS = (
    ("app.kubernetes.io/managed-by", "Helm", "Helm"),
    ("meta.helm.sh/release-name", "", "Helm"),
    ("helm.toolkit.fluxcd.io/name", "", "Flux"),
    ("kustomize.toolkit.fluxcd.io/name", "", "Flux"),
    ("argocd.argoproj.io/tracking-id", "", "Argo CD"),
    ("argocd.argoproj.io/instance", "", "Argo CD"),
    ("app.kubernetes.io/instance", "", "Argo CD or Helm"),
)
# What else belongs to them, or to kubectl apply, and would be wrong on an object of ours.
_TRACKING = (
    "meta.helm.sh/",
    "helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kustomize.toolkit.fluxcd.io/",
    "argocd.argoproj.io/",
    "config.k8s.io/owning-inventory",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def managed_by(marks: Mapping[str, str]) -> str:
    """Who would create an object with such labels and annotations again if it were deleted; empty
    when nobody is known to.
    """
    return next(
        (who for mark, value, who in _MANAGERS if marks.get(mark) and value in ("", marks[mark])),
        "",
    )


def is_tracking(mark: str) -> bool:
    """Whether a label or annotation of this name tells who manages an object."""
    return mark.startswith(_TRACKING) or any(mark == known for known, _, _ in _MANAGERS)
