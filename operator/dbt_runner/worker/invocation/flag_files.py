"""What files say of dbt's flags: dbt_project.yml, profiles.yml, and a user's own settings.

dbt reads them before it does anything else. What it does not understand there it drops without a
word, or ends in the middle of its code; and from 1.12 on a file in the home folder can ask for a
full refresh.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from dbt_protocol.flag_variables import find_changing_flags, overrule
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

# dbt takes one of these two, wherever each of them comes from; and what of a spec makes which.
_EXCLUSIVE = {
    "warn_error": ("--warn-error-options", "spec.warnErrorOptions or spec.gate"),
    "warn_error_options": ("--warn-error", "spec.warnError"),
}


def overrule_flags() -> None:
    """Set, for all commands, the flags that some versions of dbt alone would take.

    The others warn of a variable with their prefix that they do not know, which is an error where
    warnings are.
    """
    if _leaves_out():
        overrule(os.environ, DBT_ENGINE_MANAGE_STATE="false")


def _leaves_out() -> bool:
    """Whether this dbt could leave out what a service has told it to, as of 1.13."""
    from dbt.contracts.project import ProjectFlags

    return any(field.name == "manage_state" for field in fields(ProjectFlags))


def check_flag_files(project: Path, profile: Path, commands: Iterable[Sequence[str]]) -> str:
    """Check what files say of flags, before dbt goes by it.

    Args:
        project: the project's folder.
        profile: the file that holds the profile.
        commands: the command lines of the steps.

    Returns:
        What people should know; empty if there is nothing.

    Raises:
        CannotRunError: dbt could not run, or would not do what the spec says.
    """
    _refuse_user_settings()
    where, flags = _read_flags(project, profile)
    if not isinstance(flags, dict):
        raise _cannot_run(
            "flags in dbt_project.yml is no mapping of names to values: write it as in"
            " flags: {fail_fast: true}, or remove it"
        )
    if not isinstance(flags.get("warn_error_options", {}), dict):
        raise _cannot_run(
            f"{where} says warn_error_options, and no mapping: write it as in"
            " warn_error_options: {error: all}, or remove it"
        )
    words = {word for command in commands for word in command}
    for name, (option, field) in _EXCLUSIVE.items():
        if flags.get(name) is not None and option in words:
            raise _cannot_run(
                f"{where} says {name}, with which dbt does not take {option}, and {field} of the"
                f" DbtRun asks for that: remove {name} there, and set spec.warnError or"
                " spec.warnErrorOptions of the DbtRun where it is wanted"
            )
    return _explain_dropped(where, flags) or _explain_overruled(where, flags)


def _refuse_user_settings() -> None:
    names = find_changing_flags(_read_user_settings())
    if names:
        raise _cannot_run(
            f"~/.dbt/user_settings.yml of the dbt container sets {', '.join(names)}, which changes"
            " what is built or whether a run fails: remove it there, and use the fields of the"
            " DbtRun instead"
        )


def _read_user_settings() -> Mapping[str, Any]:
    """The flags in a file of the home folder, which dbt reads from 1.12 on."""
    try:
        from dbt.config.user_settings import get_user_setting_flags
    except ImportError:
        return {}
    found: Mapping[str, Any] = get_user_setting_flags()
    return found


def _read_flags(project: Path, profile: Path) -> tuple[str, object]:
    """The file that dbt takes flags from, and what it says there; an empty mapping if it says
    nothing, or if dbt will say itself what is wrong with the file.
    """
    flags = _read_mapping(project / "dbt_project.yml").get("flags")
    if flags is not None and flags != {}:
        return "flags in dbt_project.yml", flags
    config = _read_mapping(profile).get("config")
    return "config in profiles.yml", config if isinstance(config, dict) else {}


def _read_mapping(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _explain_dropped(where: str, flags: dict[str, Any]) -> str:
    """Why dbt drops all flags of a file, which it does without a word."""
    from dbt.contracts.project import ProjectFlags
    from dbt_common.dataclass_schema import ValidationError

    # dbt has words of its own for these, once it has rearranged them.
    given = {name: value for name, value in flags.items() if name != "warn_error_options"}
    try:
        ProjectFlags.validate(given)
    except ValidationError as error:
        wrong = ".".join(str(part) for part in error.path)
        return f"dbt takes none of the {where}, since {wrong} is wrong: {error.message}"
    return ""


def _explain_overruled(where: str, flags: dict[str, Any]) -> str:
    """Why dbt does not do what somebody may have paid for."""
    if not flags.get("manage_state") or not _leaves_out():
        return ""
    return (
        f"{where} says manage_state, which is off in a run: dbt would leave out what a service"
        " knows to be unchanged, and all that the run selects is to be built"
    )


def _cannot_run(message: str) -> CannotRunError:
    return CannotRunError(DbtEnd(reason="ConfigError", message=message))
