"""The words of a message, which all kinds of channels share.

Whoever is woken up reads the beginning: what failed, why, where first, and what to type next. All
texts that somebody else wrote are defused here, and escaped by each kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dbt_notifier.messages import About, Event, FailedNode, Message, Nodes
from dbt_notifier.texts import cut, defuse, say_duration

HEADLINE = 150  # characters
_NODE, _ERROR, _OWNER, _SUMMARY = 120, 130, 80, 300  # characters
_SHOWN = 20  # nodes
_OWNERS = 10

_HEADLINES = {
    Event.FAILED: "dbt failed",
    Event.RECOVERED: "dbt is green again",
    Event.WARNED: "dbt succeeded with warnings",
    Event.LATE: "dbt is late",
    Event.MISSED: "dbt was not run in time",
    Event.SUCCEEDED: "dbt succeeded",
    Event.TEST: "This is a test",
}


@dataclass(frozen=True)
class Entry:
    """A line of a list: something by its name, and what is said of it."""

    name: str
    text: str


@dataclass(frozen=True)
class Section:
    """Entries under a title."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Wording:
    """A message in words."""

    headline: str
    reason: str  # in words; empty where there is none
    first: Entry | None  # the first node that failed, or what comes nearest to that
    command: str
    sections: tuple[Section, ...]
    facts: tuple[str, ...]  # sentences
    owners: tuple[str, ...]  # as the project names them, for mentions

    @property
    def preview(self) -> str:
        """What stands in a notification, before the message is opened."""
        parts = [self.headline, self.reason]
        if self.first is not None:
            parts.append(join(self.first))
        return " - ".join(part for part in parts if part)


def join(entry: Entry) -> str:
    """An entry as one text."""
    return f"{entry.name}: {entry.text}" if entry.text else entry.name


def put_into_words(message: Message) -> Wording:
    """The words of a message."""
    nodes = message.nodes
    return Wording(
        headline=_say_headline(message),
        reason=_say_reason(message),
        first=_find_first(message),
        command=defuse(message.command, 200),
        sections=tuple(_list_sections(message)),
        facts=tuple(_state_facts(message)),
        owners=_find_owners(nodes) if nodes else (),
    )


def _say_headline(message: Message) -> str:
    about = message.about
    if message.other_count:
        return f"dbt failed: {message.other_count + 1} runs, for the same reason"
    found = _HEADLINES[message.event]
    if about.project:
        found += f": {defuse(about.project, 40)} on {defuse(about.target, 40)}"
    if about.schedule:
        found += f" ({defuse(about.schedule, 40)})"
    return cut(found, HEADLINE)


def _say_reason(message: Message) -> str:
    if message.event is Event.TEST:
        return "Somebody has asked for it. Messages about real events look like this one."
    if message.reason:
        return f"{defuse(message.reason, 40)}: {message.meaning}"
    return ""


def _find_first(message: Message) -> Entry | None:
    """The first node that failed; where nodes tell nothing, the run's own message."""
    nodes = message.nodes
    shown = (nodes.failures if message.event is Event.FAILED else nodes.warnings) if nodes else ()
    if shown:
        return _describe_node(shown[0], with_owners=False)
    if message.windows is not None and message.windows.first_failed:
        window = defuse(message.windows.first_failed[0], 60)
        return Entry(f"window {window}", defuse(message.summary, _ERROR))
    if message.event in (Event.FAILED, Event.LATE, Event.MISSED) and message.summary:
        return Entry(defuse(message.summary, _ERROR + _NODE), "")
    return None


def _describe_node(node: FailedNode, *, with_owners: bool) -> Entry:
    text = defuse(node.message.partition("\n")[0], _ERROR)
    more = []
    if node.rows is not None:
        more.append(f"{node.rows} rows")
    if node.stored_in:
        more.append(f"stored in {defuse(node.stored_in, _NODE)}")
    if with_owners and node.owners:
        more.append(f"owner {', '.join(defuse(each, _OWNER) for each in node.owners)}")
    if with_owners and node.group:
        more.append(f"group {defuse(node.group, _OWNER)}")
    said = "; ".join(part for part in (text, ", ".join(more)) if part)
    return Entry(defuse(node.unique_id, _NODE), said)


def _list_sections(message: Message) -> Iterable[Section]:
    nodes = message.nodes
    if message.others:
        shown = tuple(_describe_object(each) for each in (message.about, *message.others))
        yield Section(_count("Runs", len(shown), message.other_count + 1), shown)
    if nodes is not None:
        yield from _list_nodes(nodes)
    if message.windows is not None and message.windows.first_failed:
        keys = message.windows.first_failed
        entries = tuple(Entry(defuse(key, 60), "") for key in keys)
        yield Section(_count("Windows that failed", len(keys), message.windows.failed), entries)


def _list_nodes(nodes: Nodes) -> Iterable[Section]:
    for title, total, found in (
        ("Failed", nodes.failed, nodes.failures),
        ("Warned", nodes.warned, nodes.warnings),
    ):
        if found:
            shown = tuple(_describe_node(each, with_owners=True) for each in found[:_SHOWN])
            yield Section(_count(title, len(shown), total), shown)
    if nodes.exposures:
        shown = tuple(
            Entry(
                defuse(each.name, _NODE),
                ", ".join(defuse(part, _OWNER) for part in (each.type, each.owner) if part),
            )
            for each in nodes.exposures[:_SHOWN]
        )
        title = "Exposures that depend on them"
        yield Section(_count(title, len(shown), nodes.affected_exposures), shown)


def _count(title: str, shown: int, total: int) -> str:
    return f"{title} ({shown} of {total})" if total > shown else title


def _describe_object(about: About) -> Entry:
    place = f"{defuse(about.namespace, 63)}/{defuse(about.name, 63)}"
    return Entry(place, f"{defuse(about.project, 40)} on {defuse(about.target, 40)}")


def _state_facts(message: Message) -> Iterable[str]:
    """The rest, in sentences."""
    yield from _count_nodes(message)
    if message.windows is not None:
        found = message.windows
        yield f"{found.succeeded} of {found.total} windows succeeded, {found.failed} failed."
    yield from _tell_times(message)
    about = message.about
    if about.occurrence:
        yield f"Occurrence: {defuse(about.occurrence, 40)}."
    if message.attempts > 1:
        yield f"Attempts: {message.attempts}."
    if message.event is Event.FAILED and message.summary:
        yield f"It says: {defuse(message.summary, _SUMMARY)}"
    if message.nodes and (owners := _find_owners(message.nodes)):
        yield f"Owners: {', '.join(defuse(each, _OWNER) for each in owners)}."
    if message.artifacts:
        yield f"Artifacts: {defuse(message.artifacts, 300)}"
    yield f"{about.kind} {defuse(about.namespace, 63)}/{defuse(about.name, 63)}"


def _count_nodes(message: Message) -> Iterable[str]:
    nodes = message.nodes
    if nodes is None:
        of_nodes = message.windows is None and not message.other_count
        if of_nodes and message.event in (Event.FAILED, Event.WARNED):
            yield "Details unavailable: no pod has told of nodes."
        return
    if nodes.failed:
        tests = f", of which {nodes.failed_tests} are tests" if nodes.failed_tests else ""
        skipped = f"; {nodes.skipped} were skipped because of them" if nodes.skipped else ""
        yield f"{nodes.failed} of {nodes.total} nodes failed{tests}{skipped}."
    elif nodes.warned:
        yield f"{nodes.warned} of {nodes.total} nodes warned."
    else:
        yield f"{nodes.total} nodes."
    if nodes.missing:
        yield f"Details unavailable: {defuse(nodes.missing, 200)}."


def _tell_times(message: Message) -> Iterable[str]:
    times = message.times
    if times.duration is not None:
        usual = f", usually {say_duration(times.median)}" if times.median is not None else ""
        yield f"It took {say_duration(times.duration)}{usual}."
    if times.since and message.event is Event.LATE:
        yield f"It was to have succeeded by {defuse(times.since, 40)}."
    elif times.since and message.event is not Event.TEST:
        yield f"It has failed since {defuse(times.since, 40)}."
    if message.about.schedule and message.event is not Event.SUCCEEDED:
        last = defuse(times.last_success, 40) or "never, as far as is known"
        yield f"Last success: {last}."


def _find_owners(nodes: Nodes) -> tuple[str, ...]:
    """Whoever owns something that failed or warned, once each."""
    found = [owner for node in (*nodes.failures, *nodes.warnings) for owner in node.owners]
    return tuple(dict.fromkeys(found))[:_OWNERS]
