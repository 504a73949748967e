"""``python -m dbt_notifier``: the notifier as a process, the second container of the operator's
pod. It alone has the Secrets of channels, and it has no token for the API server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import structlog
from aiohttp import web

from dbt_notifier.channels import read_channels
from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.server import Sending
from dbt_notifier.settings import Settings

log = structlog.get_logger()

_LAST_SENDS = 20.0  # seconds for what is being sent when the process is asked to end
_MODE = 0o660  # of the socket


def configure_logging(settings: Settings) -> None:
    """One JSON object a line."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until it is asked to stop.

    Raises:
        ChannelError, OSError: it cannot begin.
    """
    channels = read_channels(settings.channels)
    runner = web.AppRunner(
        Sending(channels, settings.secrets).make_app(),
        access_log=None,
        shutdown_timeout=_LAST_SENDS,
    )
    await runner.setup()
    settings.socket.unlink(missing_ok=True)  # of a process before
    await web.UnixSite(runner, settings.socket).start()
    settings.socket.chmod(_MODE)
    log.info("serving", channels=sorted(channels), pid=os.getpid())
    await stop.wait()
    await runner.cleanup()
    log.info("stopped")


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main() -> None:
    """Run until SIGTERM."""
    settings = Settings.from_environment()
    configure_logging(settings)
    try:
        asyncio.run(_run(settings))
    except (ChannelError, OSError) as error:
        sys.exit(f"dbt-notifier: {error}")
