"""What a warehouse's error means: the reason that it gives a run, and whether it may be over by
itself.

The code of an error says that, and where it has none its words. Of those only the fixed part
counts, never what is a name or a value: a column may be called connection_id, and a statement may
be wrong on line 503. docs/endings.md has all rules as a table for people; a test compares the two.

The codes of PostgreSQL are those of appendix A of its documentation; docs/endings.md says which of
the others have been checked against what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

# Whether another attempt may do better: never, once more, or as often as there are attempts.
AGAIN = NO, ONCE, YES = "No", "Once", "Yes"
_CONFIG, _AWAY, _FAILED = "ConfigError", "Unavailable", "ModelError"


@dataclass(frozen=True)
class Ending:
    """What an error means."""

    what: str  # happened, in words for people
    reason: str
    again: str
    lost: bool = False  # the connection went, so that an answer may be missing
    login: bool = False  # who logs in is refused

    @property
    def lost_for_good(self) -> bool:
        """Whether nobody knows if what was sent has been done, and it must not be done twice."""
        return self.lost and self.again == NO


def _config(what: str) -> Ending:
    return Ending(what, _CONFIG, NO)


def _login(what: str) -> Ending:
    return Ending(what, _CONFIG, NO, login=True)


def _away(what: str, *, lost: bool = False) -> Ending:
    return Ending(what, _AWAY, YES, lost=lost)


def _passing(what: str) -> Ending:
    return Ending(what, _FAILED, YES)


def _failed(what: str) -> Ending:
    return Ending(what, _FAILED, NO)


_SERIALIZATION = _passing("could not be serialized with another transaction")
_DEADLOCK = _passing("a deadlock with another transaction")
_REFUSED = _login("the login is refused")
_NO_RIGHT = _config("a right is lacking")
_LIMITED = _away("the warehouse takes no more requests now")
_BROKEN = _away("the warehouse has an error of its own")
_LOST = _away("the connection was lost", lost=True)
_UNREACHABLE = _away("the warehouse cannot be reached")
_TLS = _config("the warehouse and the profile do not agree on TLS")
_EXPIRED = _login("a token has expired or is not valid")

# By code, which may end in * for all that begin like it; the longest that fits counts.
SQLSTATES: Mapping[str, Ending] = {
    "40001": _SERIALIZATION,
    "40P01": _DEADLOCK,
    "55P03": _passing("a lock was not to be had in time"),
    "08*": _LOST,
    "0A000": _failed("the warehouse has no such feature"),
    "25006": _away("the server is read-only, as after a failover"),
    "28*": _REFUSED,
    "3D000": _config("there is no such database"),
    "42501": _NO_RIGHT,
    "53100": _failed("the disk is full"),
    "53200": _passing("the server was out of memory"),
    "53300": _away("there are too many connections"),
    "57014": _failed("the statement was cancelled, as by statement_timeout"),
    "57P01": _away("the server was shut down or the session ended by an administrator", lost=True),
    "57P02": _away("the server has crashed", lost=True),
    "57P03": _away("the server is starting up or shutting down"),
    "57P04": _away("the database was dropped", lost=True),
    "57P05": _away("the session was ended for being idle", lost=True),
}
POSTGRES = SQLSTATES
REDSHIFT: Mapping[str, Ending] = {**SQLSTATES, "58*": _BROKEN}
SNOWFLAKE: Mapping[str, Ending] = {
    "000604": _failed("the statement was cancelled"),
    "000606": _config("no warehouse is active"),
    "000625": _passing("a lock was not to be had in time"),
    "000630": _failed("the statement ran longer than its timeout"),
    "002003": _failed("an object does not exist, or a right is lacking"),
    "003001": _NO_RIGHT,
    "250001": _UNREACHABLE,
    "250003": _UNREACHABLE,
    "250006": _login("the name of the account is wrong"),
    "251001": _login("a part of the login is missing"),
    "290403": _login("the account or the network address is refused"),
    "290429": _LIMITED,
    "290500": _BROKEN,
    "290502": _BROKEN,
    "290503": _BROKEN,
    "290504": _BROKEN,
    "300005": _BROKEN,
    "390100": _REFUSED,
    "390101": _REFUSED,
    "390102": _login("the user is locked"),
    "390111": _EXPIRED,
    "390112": _EXPIRED,
    "390114": _EXPIRED,
    "390144": _login("the key is not valid"),
    "390189": _config("there is no such role"),
    "390195": _EXPIRED,
    "390201": _config("there is no such object"),
    "390303": _EXPIRED,
    "390318": _EXPIRED,
    "390422": _login("the network address is refused"),
    "40001": _SERIALIZATION,
    "57014": SQLSTATES["57014"],
    "42501": _NO_RIGHT,
    "08*": _UNREACHABLE,
}
BIGQUERY: Mapping[str, Ending] = {
    "accessDenied": _NO_RIGHT,
    "authError": _REFUSED,
    "backendError": _BROKEN,
    "billingNotEnabled": _config("billing is not enabled"),
    "invalidQuery": _failed("the statement is wrong"),
    "internalError": _BROKEN,
    "jobBackendError": _BROKEN,
    "jobInternalError": _BROKEN,
    "jobRateLimitExceeded": _LIMITED,
    "quotaExceeded": _failed("a quota is used up"),
    "rateLimitExceeded": _LIMITED,
    "resourcesExceeded": _failed("the statement needs more than there is"),
    "stopped": _failed("the job was cancelled"),
    "tableUnavailable": _away("a table is not available now"),
    "timeout": _away("the job timed out"),
}
DATABRICKS: Mapping[str, Ending] = {
    "DELTA_CONCURRENT*": _SERIALIZATION,
    "INSUFFICIENT_PERMISSIONS*": _NO_RIGHT,
    "PERMISSION_DENIED": _NO_RIGHT,
    "TEMPORARILY_UNAVAILABLE": _BROKEN,
    "2DKD0": _SERIALIZATION,
    "40*": _SERIALIZATION,
    "42501": _NO_RIGHT,
}
HTTP: Mapping[str, Ending] = {
    "HTTP401": _login("the login is refused"),
    "HTTP403": _NO_RIGHT,
    "HTTP404": _failed("there is no such thing"),
    "HTTP408": _away("the answer took too long", lost=True),
    "HTTP429": _LIMITED,
    "HTTP500": _BROKEN,
    "HTTP502": _BROKEN,
    "HTTP503": _BROKEN,
    "HTTP504": _away("the answer took too long", lost=True),
}
SYSTEM: Mapping[str, Ending] = {  # by errno
    "ECONNABORTED": _LOST,
    "ECONNREFUSED": _UNREACHABLE,
    "ECONNRESET": _LOST,
    "EHOSTUNREACH": _UNREACHABLE,
    "ENETUNREACH": _UNREACHABLE,
    "ENOTCONN": _LOST,
    "EPIPE": _LOST,
    "ETIMEDOUT": _LOST,
}
# By name of a class, of errors that have no code.
DUCKDB: Mapping[str, Ending] = {
    "TransactionException": _SERIALIZATION,
    "HTTPException": _BROKEN,
    "PermissionException": _NO_RIGHT,
    "OutOfMemoryException": _failed("memory_limit of DuckDB is too small"),
}
CLASSES: Mapping[str, Ending] = {
    "SSLCertVerificationError": _config("the certificate of the warehouse is not trusted"),
    "RefreshError": _EXPIRED,
    "gaierror": _away("the host's name is not found"),
    "MaxRetryDurationError": _away("the warehouse did not answer in time", lost=True),
    "ConnectTimeout": _UNREACHABLE,
    "ConnectTimeoutError": _UNREACHABLE,
    "NewConnectionError": _UNREACHABLE,
    "ConnectionRefusedError": _UNREACHABLE,
    "ConnectionResetError": _LOST,
    "BrokenPipeError": _LOST,
    "ReadTimeout": _LOST,
    "ReadTimeoutError": _LOST,
    "ProtocolError": _LOST,
    "TimeoutError": _LOST,
}
_BY_SYSTEM: Mapping[str, Mapping[str, Ending]] = {
    "psycopg2": POSTGRES,
    "psycopg": POSTGRES,
    "redshift_connector": REDSHIFT,
    "snowflake": SNOWFLAKE,
    "google": BIGQUERY,
    "databricks": DATABRICKS,
    "duckdb": DUCKDB,
}

# By the words of an error, without what stands in quotes. The first that is found counts.
WORDS: tuple[tuple[str, Ending], ...] = (
    ("password authentication failed|no password supplied", _REFUSED),
    ("authentication failed for user|no pg_hba.conf entry", _REFUSED),
    ("(?:role|user) <name> does not exist", _REFUSED),
    ("role <name> is not permitted to log in", _REFUSED),
    ("incorrect username or password", _REFUSED),
    ("database <name> does not exist", SQLSTATES["3D000"]),
    ("permission denied for (?:database|schema)", _NO_RIGHT),
    ("certificate verify failed", CLASSES["SSLCertVerificationError"]),
    ("server does not support ssl|ssl connection is required", _TLS),
    ("private key file <name> has group or world access", _config("others may read a key")),
    ("the database system is (?:starting up|shutting down|in recovery)", SQLSTATES["57P03"]),
    ("the database system is not (?:yet )?accepting connections", SQLSTATES["57P03"]),
    ("too many (?:clients|connections)|remaining connection slots", SQLSTATES["53300"]),
    ("terminating connection due to", SQLSTATES["57P01"]),
    ("could not set lock on file", _away("another process has the file of DuckDB open")),
    ("deadlock detected", _DEADLOCK),
    ("could not serialize access|serializable isolation violation", _SERIALIZATION),
    ("tuple concurrently (?:updated|deleted)|conflict with concurrent transaction", _SERIALIZATION),
    ("server closed the connection|connection already closed", _LOST),
    ("could not (?:receive|send) data|ssl syscall error|broken pipe", _LOST),
    ("connection (?:reset|was closed|has been closed|not open)", _LOST),
    ("connection refused|connection timed out|timeout expired", _UNREACHABLE),
    ("could not translate host name|name or service not known", CLASSES["gaierror"]),
    ("temporary failure in name resolution", CLASSES["gaierror"]),
    ("no route to host|network is unreachable", _UNREACHABLE),
    ("(?:could not|failed to|unable to) connect", _UNREACHABLE),
    ("max retries exceeded|service unavailable", _UNREACHABLE),
)
_WORDS = [(re.compile(words.replace("<name>", '""')), ending) for words, ending in WORDS]
# Of clients that give no code to what goes wrong with a connection: in another language the words
# say nothing. Once more does no harm; as often as an account allows wrong passwords would.
UNKNOWN_CONNECTION = Ending(
    "the connection failed, in words that are not known", _AWAY, ONCE, lost=True
)
_CONNECTING = ("OperationalError", "InterfaceError", "FailedToConnectError")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`")
# What PostgreSQL shows of the statement and of its values.
_SHOWN = re.compile(r"^(?:LINE \d+:|DETAIL:|HINT:|CONTEXT:|QUERY:|STATEMENT:)")
_PLACE = re.compile(r" in \w+ \S+ \([^()\n]*\)")  # where dbt says which file it is about
_LONGEST = 4_000
OTHER = _failed("anything else that a statement does wrong")


def find_ending(cause: Mapping[str, str], *, logged_in: bool) -> Ending:
    """What an error of a warehouse's client means.

    Args:
        cause: as :mod:`dbt_runner.worker.invocation.driver_errors` has taken it down.
        logged_in: the warehouse had answered before in this attempt. A login that is then refused
            has expired, and a new pod reads its Secret anew.
    """
    codes, classes = cause.get("codes", "").split(), cause.get("classes", "").split()
    system = cause.get("system", "")
    found = (
        _find_by_words(cause.get("text", ""), serialization_only=bool(codes))
        or _find_by_code(codes, _BY_SYSTEM.get(system, {}))
        or _find_by_code(codes, HTTP)
        or _find_by_code(codes, SYSTEM)
        or _find_by_code(classes, {**CLASSES, **(DUCKDB if system == "duckdb" else {})})
        or _find_by_code(codes, SQLSTATES)
    )
    if found is None:
        is_connection = not codes and set(classes).intersection(_CONNECTING)
        found = UNKNOWN_CONNECTION if is_connection else OTHER
    if found.login and logged_in:
        return Ending("the login has expired", _AWAY, ONCE)
    if found.lost and cause.get("lasting"):
        return replace(found, again=NO)
    return found


def find_ending_of_words(message: str) -> Ending | None:
    """What a message means where there is nothing but words; None: nothing that is known."""
    return _find_by_words(message, serialization_only=False)


def find_again(endings: Iterable[Ending]) -> str:
    """Whether another attempt may do better, where several things went wrong: as often as with the
    worst of them.
    """
    return min((each.again for each in endings), key=AGAIN.index, default=NO)


def _find_by_code(codes: Iterable[str], known: Mapping[str, Ending]) -> Ending | None:
    for code in codes:
        if code in known:
            return known[code]
        fitting = [key for key in known if key.endswith("*") and code.startswith(key[:-1])]
        if fitting:
            return known[max(fitting, key=len)]
    return None


def _find_by_words(text: str, *, serialization_only: bool) -> Ending | None:
    """What the fixed part of a message means; of one with a code only that it is to be repeated,
    which some warehouses say in words alone.
    """
    fixed = keep_fixed_part(text)
    for pattern, ending in _WORDS:
        if (ending is _SERIALIZATION or not serialization_only) and pattern.search(fixed):
            return ending
    return None


def keep_fixed_part(text: str) -> str:
    """The words of a message that are the warehouse's own, in lower case: without names and values
    in quotes, and without what is shown of the statement.
    """
    lines = []
    for line in text[:_LONGEST].splitlines():
        if _SHOWN.match(line):
            break
        lines.append(_QUOTED.sub('""', _PLACE.sub("", line)))
    return "\n".join(lines).lower()
