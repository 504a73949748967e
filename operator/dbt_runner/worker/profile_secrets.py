"""Finds the secrets of the profile in the process that has a YAML parser."""

from __future__ import annotations

import os

from dbt_runner import redact
from dbt_runner.layout import Layout
from dbt_runner.redact import Redactor, environment_secrets, profile_secrets
from dbt_runner.worker.channel import Channel
from dbt_runner.worker_messages import Secrets


def send_secrets(layout: Layout, channel: Channel) -> Redactor:
    """Find the secrets of the profile, tell the supervisor, and make dbt's own log scrub them.

    dbt scrubs the values of variables called ``DBT_ENV_SECRET_*`` when it writes a log line: so
    also dbt.log of a container that is killed before anyone could go over its files is clean.
    """
    import yaml  # dbt's

    found = environment_secrets(os.environ)
    try:
        profiles = yaml.safe_load((layout.profiles / "profiles.yml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # dbt will say what is wrong with it; until then the supervisor's scan has to do.
        return Redactor(found)
    redactor = Redactor(profile_secrets(profiles, os.environ, also=found))
    channel.send(Secrets(sorted(redactor.secrets)))
    for number, secret in enumerate(sorted(redactor.secrets)):
        os.environ[f"{redact.OWN_VARIABLES}{number}"] = secret
    return redactor
