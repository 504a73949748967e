"""Entries of cron."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from dbt_operator.api.base import rules

Cron = Annotated[
    str,
    StringConstraints(min_length=6, max_length=100),
    Field(
        json_schema_extra=rules(
            (
                (
                    r"self.matches('^\\S+( +\\S+){4}$')"
                    " || self in ['@yearly', '@annually', '@monthly', '@weekly', '@daily',"
                    " '@midnight', '@hourly']"
                ),
                (
                    "must be five fields (minute, hour, day of month, month, day of week) or a"
                    " word such as @daily"
                ),
            )
        )
    ),
]
