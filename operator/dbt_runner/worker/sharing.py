"""May windows share one parse? Only if nothing that they differ in can change what is parsed.

Vars can: names of relations, refs and whether a node is enabled may hang on them, and the third day
may be the first that makes a difference. To compare manifests would prove nothing about the windows
that were not compared. So the project's text decides, and whatever is not known to be harmless is
an obstacle. Harmless is ``{{ var('name') }}`` in the SQL of a model, snapshot, analysis or singular
test, where it stands for itself: with a literal default and plain filters, in no call, no statement
and nothing that is captured. What it renders to is thrown away when dbt parses. The same holds for
a name that ``{% set %}`` gives to such an expression.

Macros, YAML, the profile and hooks must not ask for such a var at all, and Python must not mention
its name; and no ``var`` may take anything but a literal name, or be passed on under another name,
or nothing of this would prove anything. The name alone, as that of a column or of a var's default,
is no obstacle.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from dbt_protocol.json_input import parse_json
from dbt_protocol.plans import RunPlan

# Flags that take no part in parsing, of which windows may differ in the values.
_HARMLESS = frozenset(
    {
        "--event-time-start",
        "--event-time-end",
        "--select",
        "-s",
        "--models",
        "-m",
        "--exclude",
        "--selector",
        "--args",
    }
)
_VARS = "--vars"
_SUFFIXES = (".sql", ".py", ".yml", ".yaml")
# The statements that may be around a harmless expression: what is in them goes straight into the
# SQL. Any other defines something (macro, test, materialization) or captures text for later (call,
# filter, a set without "=").
_PLAIN_STATEMENTS = {
    "if",
    "elif",
    "else",
    "endif",
    "for",
    "endfor",
    "snapshot",
    "endsnapshot",
    "do",
    "set",
}
_INDIRECT = {"builtins", "context"}  # by them a macro can get hold of var under another name
_SHOWN_VALUES = {"run_started_at", "invocation_id"}  # of an invocation, that SQL often shows
_SUSPICIOUS = re.compile(r"\b(?:var|builtins|context)\b")
# Something like a use of var, in what may be prose.
_VAR = re.compile(r"(?<!\w)var(?!\w)(?=\s*[(.\[|,)~%}])")
# Within Jinja's delimiters, from the last that opens: as in invocation/sources.py.
_INSIDE = re.compile(r"\{[{%](?:(?!\}\}|%\}|\{[{%]).)*?\b(?:builtins|context)\b", re.DOTALL)
# Expressions, in the characters of _symbol; i is the name of a value.
_LITERALS = r"\((-?L(,-?L)*)?\)"
_SHOWN_VALUE = re.compile(rf"i(\.n({_LITERALS})?)*(\|n({_LITERALS})?)*")
_PLAIN_OUTPUT = re.compile(r"(a|v\(L(,-?L)?\))(\|[nva](\(-?L(,-?L)*\))?)*")

Token = tuple[str, str]  # kind and text


def obstacle(plan: RunPlan, files: Iterable[Path]) -> str:
    """What speaks against one parse for all windows of a plan; empty if nothing does.

    Args:
        plan: with the names of values in the steps' arguments.
        files: all that can hold code of the project.
    """
    names, why = differing(plan)
    if why or not names:
        return why
    for path in dict.fromkeys(files):
        try:
            why = _in_file(path, path.read_text(encoding="utf-8"), names)
        except (OSError, ValueError) as error:
            why = f"cannot be read: {error}"
        if why:
            return f"{_shown(path, plan)} {why}"
    return ""


def baked(asked: Collection[str], files: Iterable[Path]) -> str:
    """Why values of an invocation that a parse has asked for may be in what was parsed; empty if
    they are not.

    Args:
        asked: the names of the values.
        files: all that can have asked: of the project, its packages, dbt and the adapter.
    """
    if other := sorted(set(asked) - _SHOWN_VALUES):
        return f"the project asks for {other[0]} while it is parsed"
    unseen = set(asked)
    for path in dict.fromkeys(files):
        if path.suffix == ".csv":
            continue
        try:
            text = path.read_text(encoding="utf-8")
            mentioned = {found["name"] for found in _word(asked).finditer(text)}
            if mentioned and not _only_shown(path, text, mentioned):
                return f"{path.name} uses {min(mentioned)} in more than plain output"
        except (OSError, ValueError) as error:
            return f"{path.name} cannot be read: {error}"
        unseen -= mentioned
    return f"something asks for {min(unseen)} while the project is parsed" if unseen else ""


def _only_shown(path: Path, text: str, names: Collection[str]) -> bool:
    """Whether these names are used in one file of SQL only where their values go straight into the
    SQL.

    Raises:
        ValueError: it is no Jinja.
    """
    if path.suffix != ".sql":
        return False
    for kind, tokens in _parts(text):
        if kind == "block" and not _is_plain_statement(tokens):
            return False
        used = kind != "data" and any(_word(names).search(value) for _, value in tokens)
        if used and (kind == "block" or not _is_shown_value(tokens, names)):
            return False
    return True


def _is_shown_value(tokens: Sequence[Token], names: Collection[str]) -> bool:
    """Whether this is a name, at most with attributes, calls of them and filters, all with literals
    only.
    """

    def symbol(token: Token) -> str:
        return "i" if token[0] == "name" and token[1] in names else _symbol(token)

    return _SHOWN_VALUE.fullmatch("".join(map(symbol, tokens))) is not None


def code(project: Path) -> Iterator[Path]:
    """The files below a project's folder that can hold code, also of packages that are linked into
    it.
    """
    seen: set[str] = set()
    for folder, inner, names in os.walk(project, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if name != ".git")
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(_SUFFIXES))


def differing(plan: RunPlan) -> tuple[set[str], str]:
    """The vars that windows differ in, and, if they differ in anything else that matters, what that
    is.
    """
    names: set[str] = set()
    for step in plan.steps:
        flag = ""
        for word in step.argv:
            flag = word.split("=")[0] if word.startswith("-") else flag
            if "$(" not in word or flag in _HARMLESS:
                continue
            if flag != _VARS:
                return names, f"windows differ in {flag or 'the command'} of step {step.name}"
            found = _vars(word.partition("=")[2] if word.startswith("-") else word)
            if found is None:
                return names, f"the vars of step {step.name} cannot be told apart"
            names |= found
    return names, ""


def _vars(word: str) -> set[str] | None:
    """The names of those vars whose values differ; None where that cannot be told."""
    try:
        found = parse_json(word)
    except ValueError:
        return None
    if not isinstance(found, dict) or any("$(" in name for name in found):
        return None
    return {name for name, value in found.items() if "$(" in json.dumps(value)}


def _shown(path: Path, plan: RunPlan) -> str:
    project = Path(plan.project_dir)
    return str(path.relative_to(project) if project in path.parents else path)


def _in_file(path: Path, text: str, names: Collection[str]) -> str:
    """What speaks against it in one file."""
    mention = (_word(names) if path.suffix == ".py" else _call(names)).search(text)
    if path.suffix != ".sql":
        if mention:
            return f"mentions {mention['name']}"
        return (
            "" if path.suffix == ".py" or not _SUSPICIOUS.search(text) else _dynamic_in_text(text)
        )
    if not mention and not _SUSPICIOUS.search(text):
        return ""
    try:
        parts = list(_parts(text))
    except ValueError as error:
        return f"cannot be read: {error}"
    for kind, tokens in parts:
        if kind != "data" and _dynamic(tokens):
            return "uses var() in a way that does not tell the name"
    return _misplaced(parts, names, mention["name"]) if mention else ""


def _misplaced(
    parts: Sequence[tuple[str, list[Token]]], names: Collection[str], mentioned: str
) -> str:
    """What is wrong with the place where a var is used in a file of SQL."""
    for kind, tokens in parts:
        if kind == "block" and not _is_plain_statement(tokens):
            return f"mentions {mentioned} and has {{% {tokens[0][1] if tokens else ''} %}}"
    aliases = {tokens[1][1] for kind, tokens in parts if kind == "block" and _is_alias(tokens)}
    for kind, tokens in parts:
        found = "" if kind == "data" else _used(tokens, names, aliases)
        if not found or (kind == "block" and _is_alias(tokens)):
            continue
        if kind == "block" or not _is_plain_output(tokens, aliases):
            return f"uses {found} in more than a plain {{{{ var('{found}') }}}}"
    return ""


def _used(tokens: Sequence[Token], names: Collection[str], aliases: Collection[str]) -> str:
    """The var, or what stands for one, that a part asks for, itself or by code in a string, such as
    a hook's; empty if it asks for none.
    """
    for at, (kind, value) in enumerate(tokens):
        if kind == "name" and value in aliases:
            return value
        if kind == "name" and value == "var" and _is_literal_call(tokens[at + 1 : at + 4]):
            name = tokens[at + 2][1][1:-1]
            if name in names:
                return name
        if kind == "string" and (found := _call(names).search(value)):
            return found["name"]
    return ""


def _word(names: Collection[str]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?P<name>" + _any(names) + r")(?!\w)")


def _call(names: Collection[str]) -> re.Pattern[str]:
    """``var('name'``, also where the quotes are escaped, as in YAML."""
    return re.compile(r"""(?<!\w)var\s*\(\s*[\\'"]+(?P<name>""" + _any(names) + r""")[\\'"]""")


def _any(names: Collection[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names))


def _parts(text: str) -> Iterator[tuple[str, list[Token]]]:
    """The text in Jinja's parts: data, block ({% %}) and variable ({{ }}), with their tokens.
    Comments are left out.

    Raises:
        ValueError: it is no Jinja.
    """
    from jinja2 import Environment, TemplateSyntaxError  # dbt's

    kind = "data"
    tokens: list[Token] = []
    try:
        for _, what, value in Environment().lex(text):  # noqa: S701 - nothing is rendered
            if what in ("variable_begin", "block_begin"):
                kind, tokens = what.partition("_")[0], []
            elif what in ("variable_end", "block_end"):
                yield kind, tokens
                kind = "data"
            elif what == "data":
                yield "data", [(what, value)]
            elif kind != "data" and what != "whitespace":
                tokens.append((what, value))
    except TemplateSyntaxError as error:
        raise ValueError(str(error)) from error
    if kind != "data":
        raise ValueError("it ends within an expression")


def _dynamic(tokens: Sequence[Token]) -> bool:
    """Whether ``var`` is used other than with a literal name, or could be under another name."""
    for at, (kind, value) in enumerate(tokens):
        if kind == "name" and value in _INDIRECT:
            return True
        if kind == "name" and value == "var" and not _is_literal_call(tokens[at + 1 : at + 4]):
            return True
        if kind == "string" and _SUSPICIOUS.search(value) and _dynamic_in_text(value):
            return True  # code in a string, such as a hook's
    return False


def _is_literal_call(tokens: Sequence[Token]) -> bool:
    return (
        len(tokens) == 3
        and tokens[0][1] == "("
        and tokens[1][0] == "string"
        and "\\" not in tokens[1][1]
        and tokens[2][1] in (",", ")")
    )


_NAME_AND_MORE = re.compile(r"""\s*\(\s*(?:'[^'"\\]*'|"[^'"\\]*")\s*[,)]""")


def _dynamic_in_text(text: str) -> str:
    """As :func:`_dynamic`, where the text is not all Jinja: YAML, or a string. Prose may speak of a
    var.
    """
    for found in _VAR.finditer(text):
        if not _NAME_AND_MORE.match(text, found.end()):
            return "uses var() in a way that does not tell the name"
    return (
        "gets at dbt's context in a way that does not tell the name of a var"
        if _INSIDE.search(text)
        else ""
    )


def _is_plain_statement(tokens: Sequence[Token]) -> bool:
    first = tokens[0][1] if tokens else ""
    if first == "set":
        return any(token == ("operator", "=") for token in tokens)
    return first in _PLAIN_STATEMENTS


def _is_alias(tokens: Sequence[Token]) -> bool:
    """Whether this is ``set name = var('name')``: what holds for the var then holds for this
    name.
    """
    head = [kind for kind, _ in tokens[:3]]
    return (
        head == ["name", "name", "operator"]
        and tokens[2][1] == "="
        and _is_plain_output(tokens[3:])
    )


def _is_plain_output(tokens: Sequence[Token], aliases: Collection[str] = ()) -> bool:
    """Whether this is ``var('name')``, or ``var('name', 'literal')``, and at most filters with
    literals behind it.
    """
    text = "".join(
        "a" if token[0] == "name" and token[1] in aliases else _symbol(token) for token in tokens
    )
    return _PLAIN_OUTPUT.fullmatch(text) is not None


def _symbol(token: Token) -> str:
    """A token as one character: L for a literal, v for ``var``, n for another name, operators as
    they are.
    """
    kind, value = token
    if kind in ("string", "integer", "float"):
        return "L"
    if kind == "name":
        literal = value in ("none", "None", "true", "True", "false", "False")
        return "L" if literal else "v" if value == "var" else "n"
    return value if len(value) == 1 else "?"
