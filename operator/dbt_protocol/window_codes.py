"""How the windows of a run stand, in one character each: a hundred of them have to fit into a
termination message.
"""

from __future__ import annotations

PENDING, RUNNING, SUCCEEDED, SKIPPED = "-", ">", "+", "~"

# Every other character: it failed, by the reason of the step that decided, or of the run.
_FAILED = {
    "M": "ModelError",
    "T": "TestFailed",
    "F": "FreshnessFailed",
    "H": "HookFailed",
    "P": "ParseError",
    "C": "ConfigError",
    "D": "DepsFailed",
    "E": "EnvironmentMismatch",
    "N": "NothingSelected",
    "S": "MissingState",
    "U": "Unavailable",
    "O": "OOMKilled",
    "L": "Timeout",
    "X": "Cancelled",
    "A": "NameConflict",
    "B": "UploadFailed",
    "G": "SourceError",
    "I": "Infrastructure",
    "K": "Unschedulable",
    "Q": "QueueTimeout",
    "V": "ImagePullFailed",
    "Z": "InvalidSpec",
    "?": "Unknown",
}
_CODES = {reason: code for code, reason in _FAILED.items()}


def code_of(reason: str) -> str:
    """The character of a window that failed for a reason."""
    return _CODES.get(reason, "?")


def reason_of(code: str) -> str:
    """The reason why a window failed; empty if it did not. A character that nobody knows is a
    failure.
    """
    return "" if code in (PENDING, RUNNING, SUCCEEDED, SKIPPED) else _FAILED.get(code, "Unknown")
