"""What the warehouse's own client has raised, from which dbt makes a sentence.

Adapters let every statement, and the opening of a connection for it, go through their connection
manager's ``exception_handler``, and raise an error of dbt's out of the client's. That one stays
behind it as its cause or context, with the code of what went wrong, which dbt drops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dbt_runner.redact import Redactor
from dbt_runner.worker.invocation.client_errors import describe_error, follow

_COMMENTS = {"/*": "*/", "--": "\n"}
_WORD = re.compile(r"[A-Za-z]+")
# Statements that change nothing by themselves.
_HARMLESS = ("begin", "describe", "explain", "rollback", "select", "set", "show", "use")
# Models of these are the same again, however often they are built.
_REBUILT = ("table", "view", "materialized_view", "ephemeral", "dynamic_table")
_REPEATABLE = ("seed", "snapshot", "test", "unit_test", "source")
_TRANSACTION = "commit"
_TAKEN = "_dbt_operator_taken"  # an attribute of dbt's errors


class DriverErrors:
    """Takes down the last error of each node's, and of what belongs to no node."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._found: dict[str, dict[str, str]] = {}
        self._nodes: Mapping[str, Any] | None = None  # None: an operation has none
        self.logged_in = False  # the warehouse has answered

    def know(self, nodes: Mapping[str, Any]) -> None:
        """Learn what the nodes are that errors will be about."""
        self._nodes = nodes

    def list_rows(self) -> list[dict[str, str]]:
        """What has been taken down, without secrets."""
        return list(self._found.values())

    def find_codes(self, node: str) -> str:
        """The codes of a node's error."""
        return self._found.get(node, {}).get("codes", "")

    def take(self, error: BaseException, node: str, *, lasting: str = "") -> None:
        """Take an error down.

        Args:
            error: dbt's, or the client's.
            node: the unique ID of the node at work; empty outside of any.
            lasting: what the statement that was sent may have left behind all the same, as
                :func:`find_lasting` has it.
        """
        if any(getattr(each, _TAKEN, False) for each in follow(error)):
            return  # by a statement within this one; some adapters make another error of it
        row = describe_error(error)
        if row:
            setattr(error, _TAKEN, True)
            text = self._redactor.text(row.pop("text"))
            unsafe = lasting if lasting and not self._may_repeat(node, lasting) else ""
            after = "yes" if self.logged_in else ""
            row |= {"text": text, "lasting": unsafe, "after_login": after}
            self._found[node] = {"unique_id": node, **row}

    def _may_repeat(self, node: str, lasting: str) -> bool:
        """Whether a node does no harm if it runs again after it has ended well."""
        if self._nodes is None:
            return False
        if not node:  # what dbt does by itself: look what there is, and create schemas
            return True
        found = self._nodes.get(node)
        kind = str(getattr(found, "resource_type", ""))
        if kind in _REPEATABLE:
            return True
        config = getattr(found, "config", None)
        if config is None or kind != "model":
            return False
        hooks = [
            *(getattr(config, "pre_hook", ()) or ()),
            *(getattr(config, "post_hook", ()) or ()),
        ]
        if lasting != _TRANSACTION and hooks:
            return False
        materialized = str(getattr(config, "materialized", ""))
        return materialized in _REBUILT or (materialized == "incremental" and not _appends(config))


def _appends(config: Any) -> bool:
    """Whether an incremental model only adds rows, as it does without a key in most adapters."""
    strategy = getattr(config, "incremental_strategy", None) or "default"
    by_key = strategy in ("default", "merge", "delete+insert")
    return strategy == "append" or (by_key and not getattr(config, "unique_key", None))


def find_lasting(sql: str, *, in_transaction: bool) -> str:
    """What a statement may have left behind though its answer has not arrived: ``commit``,
    ``statement`` if nothing would have rolled it back, or nothing.
    """
    word = _find_first_word(sql)
    if not word or word in _HARMLESS:
        return ""
    if word == _TRANSACTION:
        return _TRANSACTION
    return "" if in_transaction else "statement"


def _find_first_word(sql: str) -> str:
    """The first word of a statement, behind the comment that dbt may have put before it."""
    rest = sql.lstrip()
    while rest.startswith(tuple(_COMMENTS)):
        rest = rest.partition(_COMMENTS[rest[:2]])[2]
        rest = rest.lstrip()
    found = _WORD.match(rest)
    return found[0].lower() if found else ""


@contextmanager
def watching(errors: DriverErrors) -> Iterator[None]:
    """Have all errors taken down that the client of a warehouse raises."""
    from dbt.adapters.factory import AdapterContainer

    register = AdapterContainer.register_adapter
    watched: list[tuple[type, Any]] = []

    def register_adapter(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        register(self, config, *args, **kwargs)
        manager = type(self.lookup_adapter(config.credentials.type).connections)
        if all(manager is not seen for seen, _ in watched):
            own = manager.exception_handler
            watched.append((manager, own))
            manager.exception_handler = _watch(own, errors)

    AdapterContainer.register_adapter = register_adapter
    try:
        yield
    finally:
        AdapterContainer.register_adapter = register
        for manager, own in watched:
            manager.exception_handler = own  # type: ignore[attr-defined]


def _watch(handler: Any, errors: DriverErrors) -> Any:
    from dbt_common.events.contextvars import get_node_info

    @contextmanager
    def exception_handler(self: Any, sql: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        connection = self.get_if_exists()
        # As it is before the adapter rolls back.
        in_transaction = bool(getattr(connection, "transaction_open", False))
        try:
            with handler(self, sql, *args, **kwargs):
                yield
        except Exception as error:
            lasting = find_lasting(str(sql), in_transaction=in_transaction)
            errors.take(error, get_node_info().get("unique_id") or "", lasting=lasting)
            raise
        errors.logged_in = True

    return exception_handler
