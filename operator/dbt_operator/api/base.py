"""What all models of the API share, and the shapes that several kinds use.

A model is written once, here; ``crd.py`` turns it into an OpenAPI schema. Descriptions are the
attributes' docstrings, so ``kubectl explain`` says what the source says. Rules in CEL are attached
with :func:`rules`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "dbt-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


def rules(*given: tuple[str, str] | tuple[str, str, str]) -> dict[str, Any]:
    """CEL rules with their messages, as ``json_schema_extra`` of a model or a field.

    A third text is an expression for the message, which can tell more than a fixed one.
    """
    names = ("rule", "message", "messageExpression")
    return {"x-kubernetes-validations": [dict(zip(names, each, strict=False)) for each in given]}


class Model(BaseModel):
    """camelCase outside, snake_case inside; unknown fields are ignored, since the API server prunes
    what is wrong.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
    )

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a manifest: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


# Kubernetes object names. Every reference to an object has this pattern: a name becomes part of a
# URL.
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME_PATTERN)]
# Labels hold 63 characters, and the name of a run becomes one. The other kinds' names are shorter.
RunName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=NAME_PATTERN)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=NAME_PATTERN)]
Image = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]
# A regular expression that CEL (RE2) can compile: `in` makes an invalid one an error, hence a
# refusal.
Pattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Field(
        json_schema_extra=rules(
            ("''.matches(self) in [true, false]", "is not a regular expression (RE2 syntax)"),
        )
    ),
]
_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]+h)?([0-9]+m)?([0-9]+s)?")
_PART = re.compile(r"([0-9]+)([hms])")
_LONGEST_HOURS = 720


def parse_duration(text: str) -> int:
    """``1h30m`` in seconds.

    Raises:
        ValueError: it is not a duration.
    """
    if not _DURATION.fullmatch(text) or not text:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _check_duration(text: str) -> str:
    if not 1 <= parse_duration(text) <= _LONGEST_HOURS * 3600:
        raise ValueError(f"must be at least 1s and at most {_LONGEST_HOURS}h (30 days)")
    return text


# As Go writes durations. CEL refuses what parses to nothing, or to more than can be added to a
# time; what was stored without CEL is refused when it is read.
Duration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", min_length=2, max_length=20),
    AfterValidator(_check_duration),
    Field(
        json_schema_extra=rules(
            ("duration(self) >= duration('1s')", "must be at least 1s"),
            (
                f"duration(self) <= duration('{_LONGEST_HOURS}h')",
                f"must be at most {_LONGEST_HOURS}h (30 days)",
            ),
        )
    ),
]
# A key of a Secret or ConfigMap.
Key = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
# What the runner or the pod's builder sets; a user's value would be lost or would lead dbt
# elsewhere.
OWN_VARIABLES = (
    "DBT_TARGET",
    "DBT_PROFILE",
    "DBT_PROFILES_DIR",
    "DBT_PROJECT_DIR",
    "DBT_TARGET_PATH",
    "DBT_LOG_PATH",
    "DBT_OPERATOR_PLAN",
    "DBT_STATE",
    "DBT_ENV_CUSTOM_ENV_RUN",
    "DBT_ENV_CUSTOM_ENV_RUN_UID",
    "DBT_ENV_CUSTOM_ENV_ATTEMPT",
    "HOME",
    "TMPDIR",
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
)

_own = ", ".join(f"'{name}'" for name in OWN_VARIABLES)
_SET_BY_US = "is a variable that the operator sets itself: remove it"
# Whatever else is refused, the operator says when it meets it: a rule that becomes stricter here
# would keep stored objects, which have passed the one before, from being edited at all.
VariableName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    Field(
        json_schema_extra=rules(
            (
                f"!(self in [{_own}]) && !self.startsWith('DBT_ENGINE_')",
                _SET_BY_US,
                f"self + ' {_SET_BY_US}'",
            )
        )
    ),
]
# Names of variables, in which * stands for any characters.
VariablePattern = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z_*][A-Za-z0-9_*]*$")
]
VariableValue = Annotated[str, StringConstraints(max_length=4096)]


class ObjectRef(Model):
    """Another object of the same namespace."""

    name: ShortName
    """Its name."""


class SecretRef(Model):
    """A Secret of the same namespace."""

    name: Name
    """Name of the Secret."""


class KeyRef(Model):
    """One key of a Secret or ConfigMap of the same namespace."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: Key
    """The key in it."""


class PlainVariable(Model):
    """An environment variable with a plain value."""

    name: VariableName
    """Its name. What the operator sets itself is refused."""
    value: VariableValue
    """Its value, literally: $(NAME) stands for itself. It is readable by everyone who can read the
    object: secrets belong into a Secret."""


class Variable(Model):
    """An environment variable: a plain value, or a key of a Secret or ConfigMap."""

    name: VariableName
    """Its name. What the operator sets itself is refused."""
    value: VariableValue | None = None
    """A plain value, literally: $(NAME) stands for itself."""
    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.value), has(self.secretKeyRef), has(self.configMapKeyRef)]"
                    ".filter(set, set).size() == 1"
                ),
                "set exactly one of value, secretKeyRef and configMapKeyRef",
            )
        )
    )


Variables = Annotated[list[Variable], Field(max_length=64)]
PlainVariables = Annotated[list[PlainVariable], Field(max_length=64)]
