"""Settings, from environment variables and the places where the chart mounts things."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "DBT_NOTIFIER_"


@dataclass(frozen=True)
class Settings:
    """How the notifier runs."""

    socket: Path = Path("/run/dbt-operator/notifier.sock")  # where it is asked to send
    channels: Path = Path("/etc/dbt-operator/channels/channels.json")
    secrets: Path = Path("/etc/dbt-operator/secrets")  # a folder for each channel
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read them."""
        return cls(
            socket=Path(environment.get(f"{_PREFIX}SOCKET", cls.socket)),
            channels=Path(environment.get(f"{_PREFIX}CHANNELS", cls.channels)),
            secrets=Path(environment.get(f"{_PREFIX}SECRETS", cls.secrets)),
            log_level=environment.get(f"{_PREFIX}LOG_LEVEL", cls.log_level).upper(),
        )
