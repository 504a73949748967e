"""The variables of the environment that dbt reads as flags: another way to say ``--full-refresh``.

What a run does stands in its spec, where it is validated. So the operator refuses these names in
the environment of runs, projects and targets, whatever they are set to. What an image sets is seen
in the pod only: there the runner refuses those that change what is built or whether a run fails,
and leaves alone what only changes what is shown or how fast it is, since images are not always made
for this operator.

Which is which says :mod:`dbt_protocol.flag_table`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence

from dbt_protocol.flag_table import FLAGS, OTHER_VARIABLES, PREFIX, Treatment

SHOWN = 5  # names in a message: the remedy stands behind them, and what is long is cut
_OF_FLAGS = {flag.variable: flag for flag in FLAGS if flag.variable}
_TREATMENTS = {**{name: flag.image for name, flag in _OF_FLAGS.items()}, **OTHER_VARIABLES}

# What the runner sets itself, whatever the container was started with.
OWN = frozenset(name for name, what in _TREATMENTS.items() if what is Treatment.OVERRULED)
_CHANGING = frozenset(name for name, what in _TREATMENTS.items() if what is Treatment.REFUSED)


def is_flag(name: str) -> bool:
    """Whether dbt reads a variable of this name as a flag, or as something that changes what a run
    does all the same; a prefix of dbt's own belongs to dbt as a whole.
    """
    return name in _OF_FLAGS or name in _CHANGING or name.startswith(PREFIX)


def find_remedy(name: str) -> str:
    """What to do instead of setting a variable; empty if there is nothing."""
    return _OF_FLAGS[name].instead if name in _OF_FLAGS else ""


def without_own(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the names that dbt would prefer to those that the runner sets."""
    preferred = {_add_prefix(name) for name in OWN}
    return {name: value for name, value in env.items() if name not in preferred}


def overrule(env: MutableMapping[str, str], **flags: str) -> None:
    """Set flags by their variables, and take away the names that dbt would prefer to these."""
    for name, value in flags.items():
        env.pop(_add_prefix(name), None)
        env[name] = value


def find_changing(env: Mapping[str, str]) -> list[str]:
    """The names in an environment that change what is built, or what counts as a failure, behind
    the spec's back.

    Empty values are none to dbt. Where ``DBT_ENGINE_TARGET`` and the like are still there,
    something has set them after the runner.
    """
    return sorted(name for name, value in env.items() if value and _changes(name))


def find_changing_flags(names: Iterable[str]) -> list[str]:
    """The same, of flags by dbt's names for them."""
    given = set(names)
    return [flag.name for flag in FLAGS if flag.image is Treatment.REFUSED and flag.name in given]


def _add_prefix(name: str) -> str:
    return name if name.startswith(PREFIX) else name.replace("DBT_", PREFIX, 1)


def _changes(name: str) -> bool:
    if not name.startswith(PREFIX):
        return name in _CHANGING
    plain = name.replace(PREFIX, "DBT_", 1)
    return name in _CHANGING or plain in _CHANGING or plain in OWN


def complaint(names: Sequence[str]) -> str:
    """The message about names that must not be set."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    named = ", ".join(names[:SHOWN]) + more
    return (
        f"the environment of the dbt container sets {named}, which dbt reads as a flag that changes"
        " what is built or whether a run fails: remove it from the image or from the"
        " project's .env, and use the fields of the DbtRun instead"
    )
