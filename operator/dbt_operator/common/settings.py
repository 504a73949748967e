"""Settings, from environment variables that the chart sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dbt_operator.common.awaited_kinds import AwaitedKind, parse_kinds
from dbt_operator.common.channels import Channel, parse_channels

_PREFIX = "DBT_OPERATOR_"


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names the variable."""


@dataclass(frozen=True)
class Settings:
    """How this operator runs."""

    runner_image: str  # image of the init container and the sidecar
    namespaces: tuple[str, ...] = ()  # empty: all of them
    workers: int = (
        16  # objects reconciled at a time; nearly all of it is waiting for the API server
    )
    resync_seconds: float = 300  # everything is listed anew this often
    health_port: int = 8080  # where /healthz and /readyz answer
    lease_namespace: str = (
        ""  # where the Lease of the election is; empty: this operator leads, whoever else does
    )
    lease_name: str = "dbt-operator"
    log_level: str = "INFO"
    log_format: str = "json"  # or console
    channels: Mapping[str, Channel] = field(default_factory=dict)  # on which people are told
    notifier_socket: str = ""  # of the notifier; needed where there are channels
    awaited_kinds: tuple[AwaitedKind, ...] = ()  # of others, that a run may wait for

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read them.

        Raises:
            SettingsError: one is missing or wrong.
        """
        namespaces = environment.get(f"{_PREFIX}NAMESPACES", "")
        return cls(
            runner_image=_required(environment, "RUNNER_IMAGE"),
            namespaces=tuple(name.strip() for name in namespaces.split(",") if name.strip()),
            workers=_positive(environment, "WORKERS", cls.workers),
            resync_seconds=_positive(environment, "RESYNC_SECONDS", int(cls.resync_seconds)),
            health_port=_positive(environment, "HEALTH_PORT", cls.health_port),
            lease_namespace=environment.get(f"{_PREFIX}LEASE_NAMESPACE", cls.lease_namespace),
            lease_name=environment.get(f"{_PREFIX}LEASE_NAME", cls.lease_name),
            log_level=environment.get(f"{_PREFIX}LOG_LEVEL", cls.log_level).upper(),
            log_format=environment.get(f"{_PREFIX}LOG_FORMAT", cls.log_format),
            channels=_channels(environment, "CHANNELS"),
            notifier_socket=environment.get(f"{_PREFIX}NOTIFIER_SOCKET", cls.notifier_socket),
            awaited_kinds=_kinds(environment, "AWAITED_KINDS"),
        )


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(_PREFIX + name):
        return value
    raise SettingsError(f"set {_PREFIX}{name}")


def _kinds(environment: Mapping[str, str], name: str) -> tuple[AwaitedKind, ...]:
    try:
        return parse_kinds(environment.get(_PREFIX + name, ""))
    except ValueError as error:
        raise SettingsError(f"{_PREFIX}{name}: {error}") from error


def _channels(environment: Mapping[str, str], name: str) -> Mapping[str, Channel]:
    try:
        return parse_channels(environment.get(_PREFIX + name, ""))
    except ValueError as error:
        raise SettingsError(f"{_PREFIX}{name}: {error}") from error


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(_PREFIX + name, str(default))
    if not text.isdigit() or int(text) == 0:
        raise SettingsError(f"{_PREFIX}{name} must be a whole number above 0, not {text!r}")
    return int(text)
