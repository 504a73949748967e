"""Finds the secrets of the profile where there is a YAML parser, and has dbt's log scrub them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dbt_runner.layout import Layout
from dbt_runner.redact import OWN_VARIABLES, Redactor
from dbt_runner.secret_sources import environment_secrets, profile_secrets
from dbt_runner.worker.channel import Channel
from dbt_runner.worker_messages import Secrets


def send_secrets(layout: Layout, channel: Channel) -> Redactor:
    """Find the secrets of the profile, tell the supervisor, and make dbt's own log scrub them."""
    import yaml  # dbt's

    found = environment_secrets(os.environ)
    try:
        profiles = yaml.safe_load(layout.profile.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # dbt will say what is wrong with it; until then the supervisor's scan has to do.
        return Redactor(found)
    redactor = Redactor(profile_secrets(profiles, os.environ, also=found))
    channel.send(Secrets(sorted(redactor.secrets)))
    os.environ.update(make_scrubbed(redactor.secrets))
    return redactor


@contextmanager
def leave_unscrubbed(text: str) -> Iterator[None]:
    """Have dbt scrub no secret that stands in a text of the project, which all can read anyway.

    dbt scrubs more than its log: in package-lock.yml it stars addresses of packages, and then it
    looks for the packages there.
    """
    shown = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(OWN_VARIABLES) and value in text
    }
    for name in shown:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(shown)


def make_scrubbed(secrets: Iterable[str]) -> dict[str, str]:
    """The variables that make dbt's own log scrub secrets.

    dbt scrubs the values of variables called ``DBT_ENV_SECRET_*`` when it writes a log line: so
    also dbt.log of a container that is killed before anyone could go over its files is clean.
    """
    return {f"{OWN_VARIABLES}{number}": secret for number, secret in enumerate(sorted(secrets))}
