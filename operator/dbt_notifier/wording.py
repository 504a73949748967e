"""The words of a message, which all kinds of channels share.

Whoever is woken up reads the beginning: what failed, why, where first, and what to type next. All
texts that somebody else wrote are defused here, and escaped by each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from dbt_notifier.messages import About, Event, FailedNode, Message, Nodes
from dbt_notifier.texts import cut, defuse, say_duration, say_moment

_HEADLINE = 140  # characters; a sign before it fits into a header of Slack
_SUBJECT, _SUBJECT_HEADLINE, _LEAST = 120, 70, 10  # characters
# The beginning holds all that matters at three in the morning; what is left of it after headline,
# reason and command is for the first failure.
_BEGINNING = 580  # characters
_NODE, _ERROR, _OWNER, _SUMMARY = 120, 200, 80, 300  # characters
_FIRST_NAME = 80  # characters, where there is little room
_PLACE = 40  # characters of a project, a target or a schedule
_NAME = 63  # characters of an object of Kubernetes
_COMMAND = 200  # characters
_SHOWN = 20  # nodes, or objects
_WINDOWS = 10
_OWNERS = 10
_OWNERS_OF_NODE = 3
# Bytes of a section; twenty nodes that have been given usual names fit.
_FAILED, _WARNED, _EXPOSURES, _RUNS, _KEYS = 5000, 2000, 2000, 2000, 800
# JSON and Python know whole numbers that no runner has ever counted.
_LARGEST_COUNT = 10**12

_HEADLINES = {
    Event.FAILED: "failed",
    Event.RECOVERED: "is green again",
    Event.WARNED: "succeeded with warnings",
    Event.LATE: "is late",
    Event.MISSED: "was not run in time",
    Event.SUCCEEDED: "succeeded",
    Event.TEST: "sends a test",
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
    code: str  # the reason, in one word; empty where there is none
    reason: str  # in words; empty where there is none
    first: Entry | None  # the first node that failed, or what comes nearest to that
    command: str
    sections: tuple[Section, ...]
    facts: tuple[str, ...]  # sentences
    owners: tuple[str, ...]  # as the project names them, for mentions
    more: int = 0  # nodes that failed, beside the first one

    @property
    def preview(self) -> str:
        """What stands in a notification, before the message is opened."""
        parts = [self.headline, self.reason]
        if self.first is not None:
            parts.append(join(self.first))
        return " - ".join(part for part in parts if part)

    @property
    def subject(self) -> str:
        """The same in a few words, for a list of messages."""
        headline = cut(self.headline, _SUBJECT_HEADLINE)
        found = f"{headline} - {self.code}" if self.code else headline
        if self.first is None:
            return found
        found += ": " if self.code else " - "
        more = f" and {self.more} more" if self.more else ""
        room = max(_SUBJECT - len(found) - len(more), _LEAST)
        return found + cut(self.first.name, room) + more


def fit(words: Wording, measure: Callable[[Wording], int], largest: int) -> Wording:
    """A message without its last sections, where it would be too large.

    Args:
        words: the message.
        measure: how large it is for the channel.
        largest: how large it may be.
    """
    while words.sections and measure(words) > largest:
        words = replace(words, sections=words.sections[:-1])
    return words


def join(entry: Entry) -> str:
    """An entry as one text."""
    return f"{entry.name}: {entry.text}" if entry.text else entry.name


def put_into_words(message: Message) -> Wording:
    """The words of a message."""
    headline, reason = _say_headline(message), _say_reason(message)
    command = defuse(message.command, _COMMAND)
    room = _BEGINNING - len(headline) - len(reason) - len(command)
    return Wording(
        headline=headline,
        code=defuse(message.reason, _PLACE),
        reason=reason,
        first=_find_first(message, room),
        command=command,
        sections=tuple(_list_sections(message)),
        facts=tuple(_state_facts(message)),
        owners=_find_owners(message),
        more=_count_more(message),
    )


def _say_headline(message: Message) -> str:
    about = message.about
    if message.other_count:
        return f"dbt failed: {_bound(message.other_count + 1)} runs, for the same reason"
    what = "dbt" if message.windows is None else "dbt backfill"
    found = f"{what} {_HEADLINES[message.event]}"
    if about.project:
        found += f": {defuse(about.project, _PLACE)} on {defuse(about.target, _PLACE)}"
    # A run of a schedule has a name that only says when it began.
    return cut(f"{found} ({defuse(about.schedule or about.name, _PLACE)})", _HEADLINE)


def _say_reason(message: Message) -> str:
    if message.event is Event.TEST:
        return "Somebody has asked for it. Messages about real events look like this one."
    if message.reason:
        return f"{defuse(message.reason, _PLACE)}: {defuse(message.meaning, 100)}"
    return ""


def _find_first(message: Message, room: int) -> Entry | None:
    """The first node that failed; where nodes tell nothing, the run's own message."""
    if shown := _list_concerned(message):
        found = _describe_node(shown[0], with_owners=len(shown) == 1)
        return _shorten(found, room)
    if not _is_summary_first(message):
        return None
    summary = defuse(message.summary, min(_SUMMARY, room))
    keys = message.windows.first_failed if message.windows is not None else ()
    if keys and keys[0] not in message.summary:
        return _shorten(Entry(f"window {defuse(keys[0], 60)}", summary), room)
    return Entry(summary, "")


def _list_concerned(message: Message) -> tuple[FailedNode, ...]:
    """The nodes that the message is about."""
    if message.nodes is None:
        return ()
    if message.event is Event.FAILED:
        return message.nodes.failures
    return message.nodes.warnings if message.event is Event.WARNED else ()


def _is_summary_first(message: Message) -> bool:
    """Whether the run's own message is the first thing to know."""
    if _list_concerned(message) or not message.summary:
        return False
    return message.event in (Event.FAILED, Event.LATE, Event.MISSED)


def _count_more(message: Message) -> int:
    nodes, shown = message.nodes, _list_concerned(message)
    if nodes is None or not shown or message.other_count:
        return 0
    total = nodes.failed if message.event is Event.FAILED else nodes.warned
    return _bound(max(total, len(shown)) - 1)


def _shorten(entry: Entry, room: int) -> Entry:
    """An entry that fits into what is left of the beginning."""
    name = entry.name if len(entry.name) + 100 < room else cut(entry.name, _FIRST_NAME)
    return Entry(name, cut(entry.text, max(room - len(name), 10)))


def _bound(count: int) -> int:
    return min(count, _LARGEST_COUNT)


def _describe_node(node: FailedNode, *, with_owners: bool) -> Entry:
    text = defuse(node.message, _ERROR)
    more = []
    if node.rows is not None and (node.stored_in or str(_bound(node.rows)) not in text):
        more.append("1 row" if node.rows == 1 else f"{_bound(node.rows)} rows")
    if node.stored_in:
        more.append(f"stored in {defuse(node.stored_in, _NODE)}")
    if with_owners and node.owners:
        more.append(f"owner {_list_owners(node.owners, _OWNERS_OF_NODE)}")
    if with_owners and node.group:
        more.append(f"group {defuse(node.group, _OWNER)}")
    said = "; ".join(part for part in (text, ", ".join(more)) if part)
    return Entry(defuse(node.unique_id, _NODE), said)


def _list_owners(owners: Sequence[str], shown: int) -> str:
    found = ", ".join(defuse(each, _OWNER) for each in owners[:shown])
    return found if len(owners) <= shown else f"{found} and {len(owners) - shown} more"


def _list_sections(message: Message) -> Iterable[Section]:
    nodes, windows = message.nodes, message.windows
    if message.others:
        runs = (message.about, *message.others)
        entries = [_describe_object(each) for each in runs[:_SHOWN]]
        yield _make_section("Runs", entries, message.other_count + 1, _RUNS)
    if nodes is not None:
        yield from _list_nodes(message, nodes)
    if windows is not None and windows.first_failed:
        entries = [Entry(defuse(key, 60), "") for key in windows.first_failed[:_WINDOWS]]
        yield _make_section("Windows that failed", entries, windows.failed, _KEYS)


def _list_nodes(message: Message, nodes: Nodes) -> Iterable[Section]:
    # Of several runs only one is known in full.
    where = f" in {defuse(message.about.name, _NAME)}" if message.other_count else ""
    for title, total, found, room in (
        (f"Failed{where}", nodes.failed, nodes.failures, _FAILED),
        (f"Warned{where}", nodes.warned, nodes.warnings, _WARNED),
    ):
        # What the beginning has said already in full is not said twice.
        is_alone = len(found) == 1 and total <= 1 and found == _list_concerned(message)
        if found and not is_alone:
            entries = [_describe_node(each, with_owners=True) for each in found[:_SHOWN]]
            yield _make_section(title, entries, total, room)
    if nodes.exposures:
        entries = [
            Entry(
                defuse(each.name, _NODE),
                ", ".join(defuse(part, _OWNER) for part in (each.type, each.owner) if part),
            )
            for each in nodes.exposures[:_SHOWN]
        ]
        total = nodes.affected_exposures
        yield _make_section("Exposures that depend on them", entries, total, _EXPOSURES)


def _make_section(title: str, entries: Sequence[Entry], total: int, room: int) -> Section:
    """As many of the entries as there is room for, and how many there are in all."""
    shown: list[Entry] = []
    for entry in entries:
        room -= len(join(entry).encode())
        if room < 0 and shown:
            break
        shown.append(entry)
    if total > len(shown):
        title += f" ({len(shown)} of {_bound(total)})"
    return Section(title, tuple(shown))


def _describe_object(about: About) -> Entry:
    place = f"{defuse(about.namespace, _NAME)}/{defuse(about.name, _NAME)}"
    return Entry(place, f"{defuse(about.project, _PLACE)} on {defuse(about.target, _PLACE)}")


def _state_facts(message: Message) -> Iterable[str]:
    """The rest, in sentences. What is true of one run only is left out where there are several."""
    yield from _count_nodes(message)
    if message.windows is not None:
        found = message.windows
        counts = f"{_bound(found.succeeded)} of {_bound(found.total)} windows succeeded"
        yield f"{counts}, {_bound(found.failed)} failed."
    if message.other_count:
        return
    yield from _tell_times(message)
    about = message.about
    if about.occurrence:
        yield f"Occurrence: {say_moment(about.occurrence)}."
    if message.attempts > 1:
        yield f"Attempts: {_bound(message.attempts)}."
    if message.event is Event.FAILED and message.summary and not _is_summary_first(message):
        yield f"It says: {defuse(message.summary, _SUMMARY)}"
    owners = _find_owners(message)
    if len(owners) > 1:
        yield f"Owners: {_list_owners(owners, _OWNERS)}."
    if message.artifacts:
        yield f"Artifacts: {defuse(message.artifacts, 300)}"
    yield f"{about.kind} {defuse(about.namespace, _NAME)}/{defuse(about.name, _NAME)}"


def _count_nodes(message: Message) -> Iterable[str]:
    nodes = message.nodes
    if nodes is None:
        of_nodes = message.windows is None and not message.other_count and message.attempts
        if of_nodes and message.event in (Event.FAILED, Event.WARNED):
            yield "Details unavailable: no pod has told of nodes."
        return
    total = _bound(nodes.total)
    if nodes.failed:
        tests = f", of which {_bound(nodes.failed_tests)} are tests" if nodes.failed_tests else ""
        skipped = f"; {_bound(nodes.skipped)} were skipped because of them" if nodes.skipped else ""
        yield f"{_bound(nodes.failed)} of {total} nodes failed{tests}{skipped}."
    elif nodes.warned:
        yield f"{_bound(nodes.warned)} of {total} nodes warned, and none failed."
    elif message.event is Event.FAILED:
        yield f"Of {total} nodes that had ended, none failed."
    else:
        yield f"{total} nodes, and none failed."
    if nodes.missing:
        yield f"Details unavailable: {defuse(nodes.missing, 200)}."


def _tell_times(message: Message) -> Iterable[str]:
    times = message.times
    if times.duration is not None:
        usual = f", usually {_say_seconds(times.median)}" if times.median is not None else ""
        end = f", until {say_moment(times.finished_at)}" if times.finished_at else ""
        yield f"It took {_say_seconds(times.duration)}{usual}{end}."
    since = say_moment(times.since) if times.since else ""
    if since and message.event is Event.LATE:
        yield f"It was to have succeeded by {since}."
    elif since and message.event is Event.RECOVERED:
        yield f"It had failed since {since}."
    elif since and message.event is Event.FAILED and times.since != times.finished_at:
        yield f"It has failed since {since}."
    if message.about.schedule and message.event is not Event.SUCCEEDED:
        last = say_moment(times.last_success) if times.last_success else ""
        yield f"Last success: {last or 'never, as far as is known'}."


def _say_seconds(seconds: float) -> str:
    return say_duration(min(seconds, _LARGEST_COUNT))


def _find_owners(message: Message) -> tuple[str, ...]:
    """Whoever owns something that the message is about, once each: what failed, or, where nothing
    did, what warned. Nobody is called for somebody else's failure.
    """
    nodes = message.nodes
    if nodes is None:
        return ()
    found = [owner for node in nodes.failures or nodes.warnings for owner in node.owners]
    return tuple(dict.fromkeys(found))
