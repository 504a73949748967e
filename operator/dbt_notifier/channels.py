"""The channels that the chart's values declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dbt_notifier.kinds import mail, pagerduty, slack, teams, webhook
from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.messages import Answer, Message
from dbt_notifier.secret_files import SecretFiles
from dbt_protocol.json_input import parse_json


class Channel(Protocol):
    """Where messages are sent to."""

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once.

        Raises:
            SecretError: somebody has to mend the channel's Secret.
        """


_PARSERS: Mapping[str, Callable[[str, Mapping[str, Any]], Channel]] = {
    mail.KIND: mail.Mail.parse,
    pagerduty.KIND: pagerduty.PagerDuty.parse,
    slack.KIND: slack.Slack.parse,
    teams.KIND: teams.Teams.parse,
    webhook.KIND: webhook.Webhook.parse,
}


def read_channels(path: Path) -> dict[str, Channel]:
    """Read channels.json.

    Raises:
        ChannelError: something in it is wrong.
        OSError: it is not there.
    """
    try:
        found = parse_json(path.read_bytes())
    except ValueError as error:
        raise ChannelError(f"{path.name}: {error}") from error
    entries = found.get("channels") if isinstance(found, Mapping) else None
    if not isinstance(entries, Mapping):
        raise ChannelError(f"{path.name}: must have an object of channels")
    return {name: _parse(name, entry) for name, entry in entries.items()}


def _parse(name: str, entry: object) -> Channel:
    if not isinstance(entry, Mapping):
        raise ChannelError(f"{name}: must be an object")
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise ChannelError(f"{name}.kind: must be one of {', '.join(sorted(_PARSERS))}")
    return _PARSERS[kind](name, entry)
