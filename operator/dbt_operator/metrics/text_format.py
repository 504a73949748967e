"""Prometheus' text format 0.0.4.

prometheus_client writes it too, and OpenMetrics: in 60 and 90 ms where this takes 15, for the 8,000
series of 500 schedules. Nothing of ours needs what OpenMetrics has beyond it. A test compares this
with what prometheus_client writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_format_value: Callable[[float], str] = floatToGoString


def write_page(families: Iterable[Metric]) -> bytes:
    """A page with some metrics."""
    return "".join(line for family in families for line in _write_family(family)).encode()


def _write_family(family: Metric) -> Iterator[str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    meaning = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {meaning}\n# TYPE {name} {family.type}\n"
    for sample in family.samples:
        yield f"{sample.name}{_write_labels(sample.labels)} {_format_value(sample.value)}\n"


def _write_labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escape(labels[name])}"' for name in sorted(labels)]) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
