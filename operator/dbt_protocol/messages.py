"""What all messages between operator and pod have in common: JSON, a number, tolerance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from dbt_protocol.json_input import parse_json

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from 3.11 on; the dbt image may have 3.9


PROTOCOL = 1  # what every reader understands
# Of plans with fields that must not be overlooked, since they say what of the code is refused: a
# runner that does not know them refuses the plan.
PINNED_CODE = 2
# Of runs whose runner's sidecar can put in place what the dbt container starts with.
PLACING_SIDECAR = 3
_NEWEST = PLACING_SIDECAR


class ProtocolError(ValueError):
    """A plan or summary that cannot be read."""


class Message:
    """JSON to and from a frozen dataclass; unknown fields are ignored, so that an older reader
    meets a newer writer.
    """

    protocol: int

    def to_json(self) -> str:
        """As JSON, without blanks."""
        data = asdict(self)  # type: ignore[call-overload]
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a message.

        Raises:
            ProtocolError: the text is no JSON object, a field is missing, or the protocol is newer
                than this reader.
        """
        try:
            data = parse_json(text)
            if not isinstance(data, dict):
                raise ProtocolError(f"expected a JSON object, found {type(data).__name__}")
            if not (type(data["protocol"]) is int and 1 <= data["protocol"] <= _NEWEST):
                raise ProtocolError(f"protocol {data['protocol']} is not one of 1 to {_NEWEST}")
            return cls.from_mapping(data)
        except ProtocolError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"{cls.__name__} cannot be read: {error!r}") from error

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message that has been parsed; errors are those that :meth:`from_json` expects."""
        return cls(**known_fields(cls, data))


_LARGEST = 2**63 - 1  # what a status can hold


def known_fields(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this reader knows. A text is a text and a count is a count: the pod is the
    user's, and may have written anything.
    """
    types = {f.name: f.type for f in fields(cls)}
    found = {name: value for name, value in data.items() if name in types}
    for name, value in found.items():
        if types[name] == "str" and not isinstance(value, str):
            raise TypeError(f"{name} must be a text")
        if types[name] == "int" and not (type(value) is int and abs(value) <= _LARGEST):
            raise TypeError(f"{name} must be a whole number")
        if types[name] == "bool" and not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false")
    return found
