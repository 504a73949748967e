"""What each warehouse's errors mean, by code, by class, and by words.

docs/endings.md has all rules as a table for people, a test compares the two; it says what each
warehouse's rows were checked against.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbt_runner.outcome.ending_kinds import ONCE, Ending, away, config, failed, login, passing

_SERIALIZATION = passing("could not be serialized with another transaction")
_DEADLOCK = passing("a deadlock with another transaction")
_REFUSED = login("the login is refused")
_NETWORK = login("the network address is refused")
_EXPIRED = login("a token has expired or is not valid")
_KEY = login("the key or the token is not valid")
_NO_RIGHT = config("a right is lacking")
_PROFILE = config("a part of the login is missing or wrong")
_TLS = config("the warehouse and the profile do not agree on TLS")
_LIMITED = away("the warehouse takes no more requests now")
_BROKEN = away("the warehouse has an error of its own")
_LOST = away("the connection was lost", lost=True)
_SESSION = away("the session has ended", lost=True)
_UNREACHABLE = away("the warehouse cannot be reached")

# By code, which may end in * for all that begin like it; the longest that fits counts.
SQLSTATES: Mapping[str, Ending] = {
    "40001": _SERIALIZATION,
    "40003": away("nobody knows whether the statement was completed", lost=True),
    "40P01": _DEADLOCK,
    "55P03": passing("a lock was not to be had in time"),
    "08*": _LOST,
    "0A000": failed("the warehouse has no such feature"),
    "25006": away("the server is read-only, as after a failover"),
    "25P03": away("the session was ended for being idle in a transaction", lost=True),
    "25P04": failed("the transaction ran longer than its timeout"),
    "28*": _REFUSED,
    "3D000": config("there is no such database"),
    "42501": _NO_RIGHT,
    "53100": failed("the disk is full"),
    "53200": passing("the server was out of memory"),
    "53300": away("there are too many connections"),
    "57014": failed("the statement was cancelled, as by statement_timeout"),
    "57P01": away("the server was shut down or the session ended by an administrator", lost=True),
    "57P02": away("the server has crashed", lost=True),
    "57P03": away("the server is starting up or shutting down"),
    "57P04": away("the database was dropped", lost=True),
    "57P05": away("the session was ended for being idle", lost=True),
}
POSTGRES = SQLSTATES
# For what is not in a warehouse's own table, that of PostgreSQL holds.
REDSHIFT: Mapping[str, Ending] = {
    "58000": away("the warehouse has an error of its own", ONCE),
    "58030": away("the warehouse has an error of its own", ONCE),
}
SNOWFLAKE: Mapping[str, Ending] = {
    "000603": away("the warehouse has an error of its own", ONCE),
    "000604": failed("the statement was cancelled"),
    "000606": config("no warehouse is active"),
    "000625": passing("too many statements wait for a lock"),
    "000630": failed("the statement ran longer than its timeout"),
    "000666": config("the account is suspended"),
    "002003": failed("an object does not exist, or a right is lacking"),
    "003001": _NO_RIGHT,
    "090073": config("a resource monitor has used up its quota"),
    "250001": _UNREACHABLE,
    "250002": _LOST,
    "250003": _UNREACHABLE,
    "250006": login("the identity provider gives no login"),
    "251001": _PROFILE,
    "251005": _PROFILE,
    "251006": _PROFILE,
    "251007": _PROFILE,
    "251008": _PROFILE,
    "251013": _PROFILE,
    "251017": _PROFILE,
    "251018": _PROFILE,
    "251020": _PROFILE,
    "252007": _SESSION,
    "252013": _LOST,
    "290401": _REFUSED,
    "290404": login("there is no such account"),
    "290429": _LIMITED,
    "290500": _BROKEN,
    "290502": _BROKEN,
    "290503": _BROKEN,
    "290504": _BROKEN,
    "390*": _REFUSED,
    "390102": login("the user is locked"),
    "390110": _EXPIRED,
    "390111": _SESSION,
    "390112": _SESSION,
    "390113": _EXPIRED,
    "390114": _SESSION,
    "390115": _EXPIRED,
    "390144": _KEY,
    "390186": config("the role is not granted"),
    "390189": config("there is no such role"),
    "390195": _EXPIRED,
    "390201": config("there is no such object"),
    "390303": _EXPIRED,
    "390318": _EXPIRED,
    "390422": _NETWORK,
    "390432": _NETWORK,
    "394*": _KEY,
    "540001": login("the account or the network address is refused"),
}
BIGQUERY: Mapping[str, Ending] = {
    "accessDenied": _NO_RIGHT,
    "authError": _REFUSED,
    "backendError": _BROKEN,
    "badGateway": _BROKEN,
    "billingNotEnabled": config("billing is not enabled"),
    "billingTierLimitExceeded": failed("the statement would cost more than is allowed"),
    "bytesBilledLimitExceeded": failed("the statement would cost more than is allowed"),
    "internalError": _BROKEN,
    "invalidQuery": failed("the statement is wrong"),
    "invalidUser": _REFUSED,
    "jobBackendError": _BROKEN,
    "jobInternalError": _BROKEN,
    "jobRateLimitExceeded": _LIMITED,
    "quotaExceeded": failed("a quota is used up"),
    "rateLimitExceeded": _LIMITED,
    "resourcesExceeded": failed("the statement needs more than there is"),
    "responseTooLarge": failed("the result is too large"),
    "retryable": _BROKEN,  # as google.auth says of an error of the host of tokens
    "stopped": failed("the job was cancelled"),
    "tableUnavailable": away("a table is not available now"),
    "timeout": away("the job timed out", ONCE),
}
DATABRICKS: Mapping[str, Ending] = {
    "DELTA_CONCURRENT*": _SERIALIZATION,
    "DELTA_METADATA_CHANGED": _SERIALIZATION,
    "DELTA_PROTOCOL_CHANGED": _SERIALIZATION,
    "INSUFFICIENT_PERMISSIONS*": _NO_RIGHT,
    "PERMISSION_DENIED": _NO_RIGHT,
    "TEMPORARILY_UNAVAILABLE": _BROKEN,
    "UNAUTHENTICATED": _REFUSED,
    "08KD1": _LIMITED,
    "2DKD0": failed("the commit has succeeded, and what comes after it has failed"),
    "40000": _SERIALIZATION,
    "HTTP403": login("the login is refused, or a right is lacking"),
}
HTTP: Mapping[str, Ending] = {
    "HTTP401": _REFUSED,
    "HTTP403": _NO_RIGHT,
    "HTTP404": failed("there is no such thing"),
    "HTTP408": away("the answer took too long", lost=True),
    "HTTP429": _LIMITED,
    "HTTP500": _BROKEN,
    "HTTP502": _BROKEN,
    "HTTP503": _BROKEN,
    "HTTP504": away("the answer took too long", lost=True),
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
    "HTTPException": _BROKEN,
    "PermissionException": config("what is to be read or written is forbidden by the settings"),
    "OutOfMemoryException": failed("memory_limit of DuckDB is too small"),
}
# These count before any code: clients put one of their own on top.
CERTIFICATE = config("the certificate of the warehouse is not trusted")
CERTAIN_CLASSES: Mapping[str, Ending] = {"SSLCertVerificationError": CERTIFICATE}
CLASSES: Mapping[str, Ending] = {
    "RefreshError": _EXPIRED,
    "DefaultCredentialsError": config("there are no credentials"),
    "TransportError": _UNREACHABLE,
    "gaierror": away("the host's name is not found"),
    "MaxRetryDurationError": away("the warehouse did not answer in time", lost=True),
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
    "TTransportException": _LOST,  # of Thrift
}
BY_SYSTEM: Mapping[str, Mapping[str, Ending]] = {
    "psycopg2": POSTGRES,
    "psycopg": POSTGRES,
    "redshift_connector": REDSHIFT,
    "snowflake": SNOWFLAKE,
    "google": BIGQUERY,
    "databricks": DATABRICKS,
    "spark": DATABRICKS,  # whose classes these are
    "duckdb": DUCKDB,
}

# By the words of an error, without what stands in quotes. The first that is found counts. These
# count where an error has a code, too, of any system or of one: what says more than its code.
CERTAIN_WORDS: tuple[tuple[str, str, Ending], ...] = (
    ("", "could not serialize access|serializable isolation violation", _SERIALIZATION),
    ("", "tuple concurrently (?:updated|deleted)", _SERIALIZATION),
    ("", "conflict with concurrent transaction", _SERIALIZATION),
    ("redshift_connector", "could not open relation with oid", _SERIALIZATION),
    ("google", "aborted due to concurrent update", _SERIALIZATION),
    ("duckdb", "conflict on |write-write conflict|failed to commit", _SERIALIZATION),
    ("snowflake", "failed to connect to db:", _REFUSED),
    ("spark", r"^java\.lang\.illegalstateexception: cannot call methods on a stopped", _LOST),
    ("spark", r"^\S{1,80}: job \d{1,9} cancelled because sparkcontext was shut down", _LOST),
)
WORDS: tuple[tuple[str, Ending], ...] = (
    ("password authentication failed|no password supplied", _REFUSED),
    ("authentication failed for user|no pg_hba.conf entry", _REFUSED),
    ("(?:role|user) <name> does not exist", _REFUSED),
    ("role <name> is not permitted to log in", _REFUSED),
    ("incorrect username or password", _REFUSED),
    (r"^bad status: 3 \(", _REFUSED),  # BAD of SASL, as Hive's and Spark's servers have it
    ("database <name> does not exist", SQLSTATES["3D000"]),
    ("permission denied for (?:database|schema)", _NO_RIGHT),
    ("certificate verify failed", CERTIFICATE),
    ("root certificate file <name> does not exist", CERTIFICATE),
    ("server does not support ssl|ssl connection is required|server refuses ssl", _TLS),
    ("private key file <name> has group or world access", config("others may read a key")),
    ("the database system is (?:starting up|shutting down|in recovery)", SQLSTATES["57P03"]),
    ("the database system is not (?:yet )?accepting connections", SQLSTATES["57P03"]),
    ("too many (?:clients|connections)|remaining connection slots", SQLSTATES["53300"]),
    ("terminating connection due to", SQLSTATES["57P01"]),
    ("could not set lock on file", away("another process has the file of DuckDB open")),
    ("deadlock detected", _DEADLOCK),
    ("server closed the connection|connection (?:is )?already closed", _LOST),
    ("tsocket read 0 bytes", _LOST),
    ("could not (?:receive|send) data|ssl syscall error|broken ?pipe", _LOST),
    ("connection (?:reset|was closed|has been closed|is closed|not open)", _LOST),
    ("connection refused|connection timed out|timeout expired", _UNREACHABLE),
    ("could not translate host name|name or service not known", CLASSES["gaierror"]),
    ("temporary failure in name resolution", CLASSES["gaierror"]),
    ("no route to host|network is unreachable", _UNREACHABLE),
    ("(?:could not|failed to|unable to) connect", _UNREACHABLE),
    ("max retries exceeded|service unavailable", _UNREACHABLE),
    ("would exceed retry policy max retry duration", CLASSES["MaxRetryDurationError"]),
)
