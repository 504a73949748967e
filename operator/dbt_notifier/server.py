"""Takes messages over a unix socket, tries once to send each, and answers what became of it.

Whoever asks tries again. Nothing is kept here, so nothing is lost with this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import structlog
from aiohttp import web

from dbt_notifier.channels import Channel
from dbt_notifier.messages import Answer, Message, Outcome, decode
from dbt_notifier.secret_files import SecretError, SecretFiles
from dbt_protocol.json_input import parse_json

log = structlog.get_logger()

_LARGEST = 4 * 1024 * 1024  # bytes of a request


class Sending:
    """Answers requests."""

    def __init__(self, channels: Mapping[str, Channel], secrets: Path) -> None:
        self._channels = channels
        self._secrets = secrets

    def make_app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=_LARGEST)
        app.add_routes(
            [web.post("/send", self._take), web.get("/healthz", self._say_how_it_is)],
        )
        return app

    async def send(self, channel: str, message: Message) -> Answer:
        """Try once to send a message. Whatever goes wrong is an answer."""
        begin = time.monotonic()
        answer = await self._try(channel, message)
        log.info(
            "tried",
            channel=channel,
            key=message.key,
            about=str(message.event),
            outcome=str(answer.outcome),
            answer=answer.text,
            seconds=round(time.monotonic() - begin, 3),
        )
        return answer

    async def _try(self, name: str, message: Message) -> Answer:
        channel = self._channels.get(name)
        if channel is None:
            return Answer(Outcome.MISCONFIGURED, f"the notifier knows no channel {name}")
        try:
            return await channel.send(message, SecretFiles(self._secrets / name))
        except SecretError as error:
            return Answer(Outcome.MISCONFIGURED, str(error))
        except Exception as error:
            # An error of ours must not look like one of the receiver's; it may be of this message
            # alone, so others go on.
            log.exception("cannot send", channel=name, key=message.key)
            return Answer(Outcome.UNAVAILABLE, f"an error of the notifier: {type(error).__name__}")

    async def _take(self, request: web.Request) -> web.Response:
        try:
            found = parse_json(await request.read())
            channel, message = str(found["channel"]), decode(found["message"])
        except (ValueError, KeyError, TypeError) as error:
            return web.Response(status=400, text=f"no message: {error!r}")
        answer = await self.send(channel, message)
        return web.Response(
            text=json.dumps(
                {
                    "outcome": str(answer.outcome),
                    "text": answer.text,
                    "retry_after": answer.retry_after,
                }
            ),
            content_type="application/json",
        )

    async def _say_how_it_is(self, _: web.Request) -> web.Response:
        return web.Response(text="well")
