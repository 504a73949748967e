"""The log: one JSON object a line, or colours for a terminal, whoever has something to say."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from dbt_operator.common.settings import Settings

_OBJECT = ("kind", "namespace", "name", "uid")


def configure_logging(settings: Settings) -> None:
    """Lines of our own and of libraries look alike; kopf and the client speak up only when
    something is wrong.
    """
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _add_source],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )


def _add_source(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Which library says it, and, where kopf does, of which object."""
    record: logging.LogRecord = line["_record"]
    line["logger"] = record.name
    of_object = getattr(record, "k8s_ref", None) or {}
    line.update({name: of_object[name] for name in _OBJECT if of_object.get(name)})
    return line
