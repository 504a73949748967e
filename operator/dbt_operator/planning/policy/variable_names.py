"""Which variables a run may set, by their names.

A target lists them in ``allowedRunEnv``. Where it does not, everything is allowed but what is known
to lead programs, libraries or connections elsewhere; such a list is never complete, which is why
targets can have one of their own. In all patterns ``*`` stands for any characters.
"""

from __future__ import annotations

from collections.abc import Iterable

from dbt_operator.api.base import OWN_VARIABLES
from dbt_operator.planning.policy.wildcards import is_among

# Read by the dynamic loader and the C library, when a process starts: code of anybody's choice runs
# in it before its own.
_OF_LOADER = ("LD_*", "GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH")
# A run may set none of these, whatever its target allows.
NEVER = (*OWN_VARIABLES, *_OF_LOADER, "PG*", "GIT_*", "PYTHON*")
_PROXIES = ("*_PROXY",)  # nor these, in either case
# A run may set these if its target names them.
UNLESS_ALLOWED = (
    # Programs that are started.
    "BASH_*",
    "BROWSER",
    "EDITOR",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "NODE_OPTIONS",
    "PAGER",
    "PERL5*",
    "PIP_*",
    "SHELL",
    "SSH_*",
    "UV_*",
    "VISUAL",
    "_JAVA_OPTIONS",
    # Whom connections trust, and what libraries load.
    "CURL_CA_BUNDLE",
    "KRB5*",
    "ODBC*",
    "OPENSSL_*",
    "REQUESTS_CA_BUNDLE",
    "SSLKEYLOGFILE",
    "SSL_CERT_*",
    # As whom, and where to.
    "AWS_*",
    "AZURE_*",
    "CLOUDSDK_*",
    "DATABRICKS_CONFIG_*",
    "DATABRICKS_HOST",
    "GOOGLE_*",
    "HOSTALIASES",
    "RESOLV_*",
    "RES_OPTIONS",
    "SNOWFLAKE_CONNECTIONS*",
    "SNOWFLAKE_DEFAULT_CONNECTION_NAME",
    "SNOWFLAKE_HOME",
)


def is_of_loader(name: str) -> bool:
    """Whether a variable of this name is read before the program that a process is to run."""
    return is_among(name, _OF_LOADER)


def explain_refusal(name: str, target: str, allowed: Iterable[str] | None) -> str:
    """Why a run may not set a variable of this name, and the remedy; empty if it may.

    Args:
        name: the variable's.
        target: that of the DbtTarget.
        allowed: the patterns of its ``allowedRunEnv``; None if it has none.
    """
    if is_among(name, NEVER) or is_among(name.upper(), _PROXIES):
        return (
            "would lead programs or connections elsewhere, so that nobody but the DbtTarget"
            f" {target} may set it: leave it out, or set it there"
        )
    if is_among(name, UNLESS_ALLOWED if allowed is None else ()):
        return (
            f"may lead programs or connections elsewhere, and the DbtTarget {target} does not allow"
            " it: leave it out, or name it in spec.allowedRunEnv there"
        )
    if not is_among(name, ("*",) if allowed is None else allowed):
        return (
            f"is none of the names that spec.allowedRunEnv of the DbtTarget {target} allows: leave"
            " it out, or name it there"
        )
    return ""
