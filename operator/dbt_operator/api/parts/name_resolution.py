"""How the pods find hosts by their names."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import NAME_PATTERN, Model, rules

_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# An address of IPv6 has at least one colon; the API server looks at the rest when the pod is made.
IpAddress = Annotated[
    str,
    StringConstraints(
        min_length=2,
        max_length=45,
        pattern=rf"^(({_BYTE}\.){{3}}{_BYTE}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$",
    ),
]
Hostname = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME_PATTERN)]
# The resolver asks for names with underscores, too, and a dot stands for the root.
SearchDomain = Annotated[
    str, StringConstraints(min_length=1, max_length=254, pattern=r"^[A-Za-z0-9_.-]+$")
]


class HostAlias(Model):
    """As in a pod: a line of /etc/hosts."""

    ip: IpAddress
    """The address."""
    hostnames: Annotated[list[Hostname], Field(min_length=1, max_length=16)]
    """The names that it is known by."""


class DnsOption(Model):
    """As in a pod: an option of the resolver."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Its name, for example ndots."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Its value."""


class DnsConfig(Model):
    """As in a pod: what is added to the resolver's settings that pods of the cluster have."""

    nameservers: Annotated[list[IpAddress], Field(max_length=3)] | None = None
    """Addresses of DNS servers. A pod has at most three, those of the cluster included."""
    searches: (
        Annotated[
            list[SearchDomain],
            Field(
                max_length=32,
                json_schema_extra=rules(
                    (
                        "self.join(' ').size() <= 2048",
                        "must have at most 2048 characters, all together",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """Domains in which short names are looked up."""
    options: Annotated[list[DnsOption], Field(max_length=16)] | None = None
    """Options of the resolver."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.nameservers) || has(self.searches) || has(self.options)",
                "set nameservers, searches or options, or leave dnsConfig out",
            )
        )
    )
