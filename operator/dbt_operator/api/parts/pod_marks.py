"""Labels and annotations of the pods, and whose they may not be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from dbt_operator.api.base import GROUP, rules

# What the operator, the Job controller and Kueue know pods by, what Services and NetworkPolicies of
# the operator and of others select, and what would take from a pod what it is restricted by.
_OWN_PREFIXES = (
    f"{GROUP}/",
    "app.kubernetes.io/",
    "batch.kubernetes.io/",
    "kueue.x-k8s.io/",
    "container.apparmor.security.beta.kubernetes.io/",
)
_OWN_NAMES = ("job-name", "controller-uid")
_IS_OWN = " || ".join(
    [*(f"k.startsWith('{prefix}')" for prefix in _OWN_PREFIXES), f"k in {list(_OWN_NAMES)}"]
)
_WHICH = f"no name may begin with {', '.join(_OWN_PREFIXES)} or be {', '.join(_OWN_NAMES)}"
_NOT_OWN = rules(
    (
        f"!self.exists(k, {_IS_OWN})",
        f"{_WHICH}, which others know pods by",
        f"self.filter(k, {_IS_OWN})[0] + ' is a name that others know pods by: {_WHICH}'",
    ),
    (
        "self.all(k, size(k) > 0 && size(k) <= 317)",
        "a name has at most 253 characters, a slash and 63 characters",
    ),
)
_LabelValue = Annotated[
    str,
    StringConstraints(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"),
]
PodLabels = Annotated[dict[str, _LabelValue], Field(max_length=16, json_schema_extra=_NOT_OWN)]
PodAnnotations = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=1024)]],
    Field(max_length=16, json_schema_extra=_NOT_OWN),
]
# Names of labels and annotations, in which * stands for any characters.
MarkPattern = Annotated[
    str, StringConstraints(min_length=1, max_length=317, pattern=r"^[A-Za-z0-9*][-A-Za-z0-9_./*]*$")
]
