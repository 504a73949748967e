"""Records what dbt's Jinja reads while dbt parses, for
:mod:`dbt_runner.worker.parse_reads`.

Templates say what they read (:mod:`.instrument`). The rest is noted where it is asked for,
whichever way that was found: vars by ``var`` itself, variables of the environment where dbt does
not compare them, the time where an attribute gives it, and dbt's configuration where an attribute
leads to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from typing import Any

import dbt.parser.base
import dbt.parser.manifest
from dbt.clients.jinja import get_template, render_template
from dbt.config import RuntimeConfig
from dbt.context.base import BaseContext, Var
from dbt.context.configured import ConfiguredContext
from dbt.contracts.files import ParseFileType
from dbt.parser.hooks import HookParser
from dbt_common.clients.jinja import (
    MacroFuzzEnvironment,
    NativeSandboxEnvironment,
    template_cache,
)
from jinja2 import pass_context
from jinja2.filters import FILTERS

from dbt_runner.worker.invocation.instrument import (
    INDIRECT,
    WATCHED,
    NativeNotingGenerator,
    NotingGenerator,
)
from dbt_runner.worker.parse_reads import NO_FILE

_OF_THE_MOMENT = {"now", "today", "utcnow", "fromtimestamp", "utcfromtimestamp"}
# All that a command can be told by.
_EVERYTHING = ("flags", "invocation_args_dict", "target", "var", "run_started_at")


class Recorder:
    """What has been read so far."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}  # by file
        self.rendered: set[str] = set()  # files that were parsed as a whole
        self._file = NO_FILE
        self._discarded: Any = None  # the environment whose template's output is thrown away
        self._passed_over: list[object] = []  # calls of var that only show it

    def note(self, name: str) -> None:
        """Note a read."""
        self.names.setdefault(self._file, set()).add(name)

    def note_everything(self) -> None:
        """Note what might have been read of all that a command can be told by."""
        for name in _EVERYTHING:
            self.note(name)

    def is_outside(self) -> bool:
        """Whether no file is being parsed."""
        return self._file == NO_FILE

    def is_discarded(self, environment: Any) -> bool:
        """Whether the output of a template of this environment is thrown away."""
        return environment is self._discarded

    @contextmanager
    def in_file(self, file: Any) -> Iterator[None]:
        """Note reads as those of this file of dbt's."""
        before, self._file = self._file, file.file_id
        if file.parse_file_type != ParseFileType.Schema:
            self.rendered.add(file.file_id)
        try:
            yield
        finally:
            self._file = before

    @contextmanager
    def discarding(self, environment: Any) -> Iterator[None]:
        """Throw away the output of a template of this environment."""
        before, self._discarded = self._discarded, environment
        try:
            yield
        finally:
            self._discarded = before

    def show_var(self, var: Any, *args: Any, **named: Any) -> Any:
        """Call ``var`` for something that is only shown."""
        self._passed_over.append(var)
        try:
            return var(*args, **named)
        finally:
            if self._passed_over and self._passed_over[-1] is var:
                self._passed_over.pop()  # it has not come to the call

    def note_call(self, var: Any, name: object) -> None:
        """Note a call of ``var``, unless it is only shown."""
        if self._passed_over and self._passed_over[-1] is var:
            self._passed_over.pop()
        else:
            self.note(f"var.{name}")


_at_work: list[Recorder] = []  # one at most


def _get_recorder() -> Recorder:
    """The one at work; without one, what templates say is lost."""
    return _at_work[-1] if _at_work else Recorder()


class Notes:
    """What templates say; these become methods of Jinja's environment."""

    # Generated code calls them, so their arguments are in order.
    def note_name(self, name: str, shown: bool, value: Any) -> Any:  # noqa: FBT001
        """Take a name whose value is asked for, and return the value."""
        recorder = _get_recorder()
        is_nothing = shown and recorder.is_discarded(self)
        if name == "var":
            return partial(recorder.show_var, value) if is_nothing else value
        if not is_nothing:
            _note_whole(recorder, name)
        return value

    def note_part(
        self,
        name: str,
        shown: bool,  # noqa: FBT001
        value: Any,
        part: Any,
        attribute: bool,  # noqa: FBT001
    ) -> Any:
        """Take a part of a value that is asked for, and return it."""
        environment: Any = self
        recorder = _get_recorder()
        found = (environment.getattr if attribute else environment.getitem)(value, part)
        if shown and recorder.is_discarded(self):
            return found
        if attribute and isinstance(value, Mapping) and hasattr(value, part):
            if part == "get":
                return partial(_get_part, name, value)
            _note_whole(recorder, name)
        else:
            _note_part(recorder, name, part)
        return found


def _get_part(name: str, value: Mapping[Any, Any], part: Any, default: Any = None) -> Any:
    """Do what ``get`` of a mapping does, and note the part."""
    _note_part(_get_recorder(), name, part)
    return value.get(part, default)


def _note_part(recorder: Recorder, name: str, part: object) -> None:
    key = str(part)
    if name not in INDIRECT:
        recorder.note(f"{_find_root(name)}.{key}")
    elif key in WATCHED and key != "var":
        _note_whole(recorder, key)


def _note_whole(recorder: Recorder, name: str) -> None:
    if name in INDIRECT:
        recorder.note_everything()
    else:
        recorder.note(_find_root(name))


def _find_root(name: str) -> str:
    return "target" if name == "env" else name


# What is put in the place of something of dbt's while it parses


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what dbt's Jinja reads."""
    recorder = Recorder()
    template_cache.clear()  # of macros that say nothing
    _at_work.append(recorder)
    try:
        with ExitStack() as stack:
            _replace_parts(stack, recorder)
            yield recorder
    finally:
        _at_work.pop()


def _replace_parts(stack: ExitStack, recorder: Recorder) -> None:
    def replace(owner: Any, name: str, new: Any) -> None:
        if name in vars(owner):
            stack.callback(setattr, owner, name, vars(owner)[name])
        else:
            stack.callback(delattr, owner, name)  # it is that of a base class
        setattr(owner, name, new)

    # Methods stay: templates that were compiled meanwhile are run later, too.
    MacroFuzzEnvironment.note_name = Notes.note_name  # type: ignore[attr-defined]
    MacroFuzzEnvironment.note_part = Notes.note_part  # type: ignore[attr-defined]
    replace(MacroFuzzEnvironment, "code_generator_class", NotingGenerator)
    replace(NativeSandboxEnvironment, "code_generator_class", NativeNotingGenerator)
    is_safe = MacroFuzzEnvironment.is_safe_attribute
    replace(MacroFuzzEnvironment, "is_safe_attribute", _watch_attributes(recorder, is_safe))
    replace(dbt.parser.base, "get_rendered", _discard(recorder, dbt.parser.base.get_rendered))
    for owner in _list_classes(Var):
        if "__call__" in vars(owner):
            replace(owner, "__call__", _watch_call(recorder, owner.__call__))
    for name in ("has_var", "get_rendered_var"):
        replace(Var, name, _watch_method(recorder, getattr(Var, name)))
    for parser in _list_parsers():
        replace(parser, "parse_file", _watch_file(recorder, parser.parse_file))
    for context in _list_classes(ConfiguredContext):
        _replace_member(stack, context, recorder)
    random = FILTERS["random"]
    stack.callback(FILTERS.__setitem__, "random", random)
    FILTERS["random"] = _watch_random(recorder, random)


def _list_classes(base: type) -> Iterator[Any]:
    yield base
    for derived in base.__subclasses__():
        yield from _list_classes(derived)


def _list_parsers() -> Iterator[Any]:
    """The parsers of files. That of hooks reads dbt_project.yml, which counts for all."""
    for value in vars(dbt.parser.manifest).values():
        if isinstance(value, type) and hasattr(value, "parse_file") and value is not HookParser:
            yield value


def _replace_member(stack: ExitStack, context: type[BaseContext], recorder: Recorder) -> None:
    members = context._context_members_
    original = members["env_var"]

    def env_var(self: BaseContext, var: str, default: str | None = None) -> str:
        # dbt knows which variables a file asks for, and those of dbt_project.yml and of the profile
        # it compares; it does not of what it renders outside of files, such as hooks.
        if recorder.is_outside():
            recorder.note(f"env_var.{var}")
        found: str = original.__get__(self)(var, default)
        return found

    stack.callback(members.__setitem__, "env_var", original)
    members["env_var"] = env_var


def _watch_attributes(recorder: Recorder, original: Any) -> Any:
    """Note the attributes that give the time, or lead to all that dbt knows of a command."""

    def is_safe_attribute(self: Any, obj: Any, attr: str, value: Any) -> Any:
        if isinstance(value, RuntimeConfig):
            recorder.note_everything()
        elif attr in _OF_THE_MOMENT and _is_date(obj):
            recorder.note(f"modules.datetime.{attr}")
        return original(self, obj, attr, value)

    return is_safe_attribute


def _is_date(value: Any) -> bool:
    return isinstance(value, date) or (isinstance(value, type) and issubclass(value, date))


def _watch_call(recorder: Recorder, original: Any) -> Any:
    def call(self: Var, var_name: str, *rest: Any, **named: Any) -> Any:
        recorder.note_call(self, var_name)
        return original(self, var_name, *rest, **named)

    return call


def _watch_method(recorder: Recorder, original: Any) -> Any:
    """Note what a template asks ``var`` for, other than by calling it."""

    def method(self: Var, var_name: str) -> Any:
        if str(sys._getframe(1).f_globals["__name__"]).startswith("jinja2"):  # noqa: SLF001
            recorder.note(f"var.{var_name}")
        return original(self, var_name)

    return method


def _watch_file(recorder: Recorder, original: Any) -> Any:
    def parse_file(self: Any, block: Any, *args: Any, **named: Any) -> Any:
        with recorder.in_file(block.file):
            return original(self, block, *args, **named)

    return parse_file


def _watch_random(recorder: Recorder, original: Any) -> Any:
    @pass_context
    def random(*args: Any) -> Any:
        recorder.note("random")
        return original(*args)

    return random


def _discard(recorder: Recorder, original: Callable[..., Any]) -> Any:
    """Render what dbt throws away: bodies and hooks of nodes."""

    def get_rendered(string: Any, ctx: Any, node: Any = None, **options: Any) -> Any:
        if options != {"capture_macros": True} or not isinstance(string, str) or "{" not in string:
            return original(string, ctx, node, **options)
        template = get_template(string, ctx, node, capture_macros=True)
        with recorder.discarding(template.environment):
            return render_template(template, ctx, node)

    return get_rendered
