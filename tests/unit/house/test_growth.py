"""No text that somebody else writes takes longer than its length accounts for.

Python's regular expressions go back and try again, and hold the interpreter's lock meanwhile: a
pattern of quadratic time and a text of 150 kB stopped the operator for 13 seconds, in which it lost
its Lease. So every pattern is a constant of its module, found here by reading the source, and is
given its worst cases.

To add a pattern: give it a row in ``PATTERNS``, under the name of its module and its own. The
beginnings and the parts of the pattern are repeated without being asked for. The row adds what only
a person can think of: a ``Pump``, or the piece of one, for each way in which many beginnings could
each scan to the end. It needs a ``work`` if the pattern is not used by its name, or if what it
meets is cut before. If the test fails, let the pattern stop where the next match would begin, let
it take what it scanned in vain (``_PLACEHOLDER``), or put a limit to it (``{0,200}`` in place of
``*``).

Work on text that needs no pattern has a row in ``LOOPS``. The API's patterns are of pydantic, whose
engine is linear whatever the pattern, as long as nobody asks for Python's: see the last test.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from dbt_operator.api.registry import KINDS
from dbt_operator.planning.common import durations, names, placeholders
from dbt_operator.planning.policy import secret_shapes
from dbt_protocol.line_input import LineBuffer
from dbt_runner import redact, secret_sources
from dbt_runner.outcome import classify, meanings, sentences
from dbt_runner.outcome.step_outcome import StepEvidence
from dbt_runner.prepare import git_messages
from dbt_runner.supervise.output import Output
from dbt_runner.worker.command import evidence
from dbt_runner.worker.command.dbt_program import ProgramEnd
from dbt_runner.worker.invocation import spark_errors
from tests.support.growth import Pump, Work, derive_pumps, find_excess
from tests.support.places import OPERATOR, dotted, modules

MAKES = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}


@dataclass(frozen=True)
class Row:
    """The worst cases of a pattern, and what is done with a text, if not just what its name says.

    ``reason`` says why a pattern that is made by a function need not be tried, or cannot.
    """

    hard: tuple[str | Pump, ...] = ()
    work: Work | None = None
    reason: str = ""


def scan_profile(text: str) -> object:
    return secret_sources.scan_profiles(text, {}), list(secret_sources.find_openly_asked(text))


def fill_placeholders(text: str) -> object:
    return placeholders.fill(text, {"window.key": "2024"}), list(placeholders._find(text, "spec"))


def redact_text(text: str) -> object:
    return redact.Redactor({"secret-one", "secret-two"}).text(text)


def name_cause(text: str) -> object:
    return git_messages.CommandError(git_messages.shorten(text), git_messages.tidy(text)).cause


def match_labels(text: str) -> object:
    return [pattern.fullmatch(text) for pattern in names.PART_LABELS.values()]


def explain_exception(text: str) -> object:
    return classify._raised(
        StepEvidence(command="build", exit_code=2, exception=["DbtRuntimeError"], message=text), []
    )


def explain_output(text: str) -> object:
    return evidence.explain_failure(ProgramEnd(2, [text]), [])


def explain_words(text: str) -> object:
    return meanings.find_ending_of_words(text)


def count_seconds(text: str) -> object:
    try:
        return durations.seconds(f"{text}!")
    except ValueError as error:
        return error


PATTERNS = {
    "dbt_operator.api.parts.upstreams:_BOUND_PATTERN": Row(),
    "dbt_operator.api.parts.upstreams:_LABEL": Row(("a-", "a/")),
    "dbt_operator.cluster.api_server:_NAME": Row(("a-", "a.", "a-.")),
    "dbt_operator.api.base:_DURATION": Row(("1", "1h", "1h1m"), count_seconds),
    "dbt_operator.api.base:_PART": Row(("1h", "1h1m"), count_seconds),
    "dbt_operator.planning.common.names:PART_LABELS": Row(("a-", "a."), match_labels),
    "dbt_operator.planning.common.names:_NAME": Row(("a-",), match_labels),
    "dbt_operator.planning.common.names:_UID": Row(("a-",), match_labels),
    "dbt_operator.planning.common.placeholders:_MEANT": Row((".steps[1].a", ".waitFor[1]")),
    "dbt_operator.planning.common.placeholders:_PLACEHOLDER": Row(
        ("$(window.", "$(window.$(scheduled.", "$(interval.start)"), fill_placeholders
    ),
    "dbt_operator.planning.common.image_ids:_DIGEST": Row(("sha256:",)),
    "dbt_operator.planning.policy.pinning:_COMMIT": Row(),
    "dbt_runner.prepare.restore:_NAME": Row(),
    "dbt_runner.worker.lock_file:_COMMIT": Row(),
    "dbt_runner.worker.lock_file:_ENTRY": Row((" ", "- ", "a: ")),
    "dbt_runner.worker.lock_file:_TOP": Row(),
    "dbt_runner.worker.lock_file:_VERSION": Row(("1.", "1")),
    "dbt_operator.planning.policy.secret_shapes:_CAMEL": Row(("aA", "a-B")),
    "dbt_operator.planning.policy.secret_shapes:_HARMLESS": Row(("{{}}a", "$(a)", "</a", "env:")),
    "dbt_operator.planning.policy.secret_shapes:_PASSWORDS": Row(),
    "dbt_operator.planning.policy.secret_shapes:_SHAPES": Row(
        ("-eyJ", "eyJaaaaaaaa.", "a://", "a+", "a://:", "://a:", "-----BEGIN A "),
        secret_shapes.shape,
    ),
    "dbt_operator.planning.policy.secret_shapes:_SIMPLE_KEY": Row(),
    "dbt_operator.planning.policy.secret_shapes:_TOKENS": Row(),
    "dbt_operator.planning.policy.secret_shapes:_WORDS": Row(),
    "dbt_operator.planning.state.compare:_COMPARING": Row(("@state", "1", Pump(".a", "state"))),
    "dbt_operator.planning.target:_problem": Row(
        reason="the target owner's own pattern of 253 characters is compiled, and matched nowhere"
    ),
    "dbt_runner.outcome.classify:_EXCEPTIONS": Row(
        ("previous run in '", "previous run in 'a' target "),
        explain_exception,
    ),
    "dbt_runner.outcome.meanings:_CERTAIN": Row(
        ("could not serialize ", "conflict "), explain_words
    ),
    "dbt_runner.outcome.meanings:_PLACE": Row(
        (" in model a", " in a b (", " in a b (a"), explain_words
    ),
    "dbt_runner.outcome.meanings:_QUOTED": Row(('"', "'", "`'\"", '"a'), explain_words),
    "dbt_runner.outcome.meanings:_SHOWN": Row(("LINE 1", "LINE 1\n", "DETAIL\n"), explain_words),
    "dbt_runner.outcome.meanings:_WORDS": Row(
        ("could not ", "terminating ", 'role "" '), explain_words
    ),
    "dbt_runner.worker.invocation.client_errors:_ERROR_CLASS": Row(("[A", "[AA.")),
    "dbt_runner.worker.invocation.client_errors:_SQLSTATE": Row(("SQLSTATE ", "SQLSTATE: (4200")),
    "dbt_runner.worker.invocation.spark_errors:_BEGINNING": Row(
        ("org.apache.hive.", "org.apache.hive.a.", "HiveSQLException: Error a "),
        spark_errors.describe_server_error,
    ),
    "dbt_runner.worker.invocation.spark_errors:_CLASS": Row(("[A", "[AA.")),
    "dbt_runner.worker.invocation.spark_errors:_EXCEPTION": Row(("a.", "aa", "A.")),
    "dbt_runner.worker.invocation.driver_errors:_WORD": Row(("a", "a ")),
    "dbt_runner.outcome.sentences:_BLANKS": Row((" ", " a", "\n"), sentences.first_lines),
    "dbt_runner.outcome.sentences:_LOCATION": Row(("in macro\n", "^~ \n"), sentences.first_lines),
    "dbt_runner.outcome.sentences:_PLACE": Row(
        ("at a", "at a(\n", "... 1 more\n"), sentences.first_lines
    ),
    "dbt_runner.outcome.steps:_PLACEHOLDER": Row(("$(a", "$(a)", "$((")),
    "dbt_runner.prepare.git:_COMMIT": Row(),
    "dbt_runner.prepare.git:_SHORT_HASH": Row(),
    "dbt_runner.local_packages:_LOCAL": Row(("local", "local ", "local: ", "local:a ")),
    "dbt_runner.prepare.git_messages:_CAUSES": Row(
        ("repository ", "unable to set ", "@\n"), name_cause
    ),
    "dbt_runner.prepare.git_messages:_PASSWORD": Row(("://a:", "://a@:", ":")),
    "dbt_runner.prepare.git_messages:_QUERY": Row(("?", "? ", "?12345678")),
    "dbt_runner.prepare.git_messages:_QUOTED": Row(("'", "'a")),
    "dbt_runner.redact:_CUT": Row(("_0",)),
    "dbt_runner.secret_sources:_EMBEDDED": Row(("token", "token ", "token= ", "://a:", "pwd='")),
    "dbt_runner.secret_sources:_ENV_VAR": Row(
        ("env_var('", "env_var('a',\"", "env_var( ", Pump(" ", "env_var('a'"))
    ),
    "dbt_runner.project_words:_ENV_VAR_WORD": Row(),
    "dbt_runner.secret_sources:_FLOW_END": Row((",", "a"), scan_profile),
    "dbt_runner.secret_sources:_HARMLESS_KEY": Row(("_path", Pump("_path", "\n"))),
    "dbt_runner.project_words:_LITERAL_CALL": Row(("env_var('", "env_var(\\'", "env_var('a\\'")),
    "dbt_runner.secret_sources:_SECRET_KEY": Row(("password", "password\n", "private_")),
    "dbt_runner.secret_sources:_SECRET_VARIABLE": Row(
        ("PASSWORD", "PASSWORD\n", "_API_KEY\n", "_API")
    ),
    "dbt_runner.secret_sources:_YAML_ENTRY": Row(
        ("a", "1", "a-", "token: ", "token:a,", "token:'", "a:''", 'a:"\\"', "a: ", "a :[", "é"),
        scan_profile,
    ),
    "dbt_runner.redact:_any_of": Row(("secret-", "secret-one", "secret-on"), redact_text),
    "dbt_runner.worker.command.engine:_VERSION": Row(("dbt-", "dbt 1.1", "  - installed: 1.")),
    "dbt_runner.worker.command.evidence:_EMPTY": Row(),
    "dbt_runner.worker.command.evidence:_EXCEPTIONS": Row(
        ("profile", "usage: ", "DbDriverFailed", "InvalidConfig target '"), explain_output
    ),
    "dbt_runner.worker.command.evidence:_LACKS_STATE": Row(),
    "dbt_runner.worker.command.evidence:_UNHANDLED": Row(("[warning] `dbt ",)),
    "dbt_runner.worker.command.printer:_TIME": Row(("00:00:00", Pump("1", "00:00:00."))),
    "dbt_runner.worker.command.pretences:_BY_STATE": Row(),
    "dbt_runner.worker.command.selectors_file:_ALIAS": Row(),
    "dbt_runner.worker.command.selectors_file:_COMPARES": Row(("method : ", "state")),
    "dbt_runner.worker.command.selectors_file:_DEFAULT": Row(("default : ",)),
    "dbt_runner.worker.command.selectors_file:_NAME": Row(("name : ",)),
    "dbt_runner.worker.command.selectors_file:_REFERS": Row(("method : ",)),
    "dbt_runner.worker.command.step_flags:_ELSEWHERE": Row(("--target=", "-t")),
    "dbt_runner.worker.environment:_compile": Row(
        reason="the target owner's pattern meets names of schemas, in the pod of the run alone"
    ),
}


def spread_long_key(text: str) -> object:
    """Placeholders in many entries of a map with a key of any length."""
    half = len(text) // 2
    entries = {str(number): "$(window.key)" for number in range(half // 20)}
    return list(placeholders._find({text[:half]: entries}, "spec"))


def share_aliases(text: str) -> object:
    """What YAML's aliases make of a short text: each list holds the one before twice."""
    profile: list[Any] = ["a secret"]
    for _ in text:
        profile = [profile] * 2
    return secret_sources.profile_secrets({"password": profile}, {})


def feed_lines(text: str) -> object:
    """A line that arrives in pieces."""
    buffer = LineBuffer()
    return [buffer.add(text[start : start + 8].encode()) for start in range(0, len(text), 8)]


def print_dots(text: str) -> object:
    """A line that dbt prints by a few characters at a time."""
    output = Output(redact.Redactor(()))
    for start in range(0, len(text), 8):
        output.pass_on(text[start : start + 8].encode())
    return output


def star_words(text: str) -> object:
    """A secret that is part of as many words of a project as there is text for."""
    words = [f"stg_{number}_analytics_{number}" for number in range(len(text) // 20)]
    known = redact.Known(frozenset(words), frozenset())
    return redact.Redactor({"analytics"}, known).text(" ".join(words))


LOOPS: dict[str, tuple[Work, str]] = {
    "a long key over many entries": (spread_long_key, "a"),
    "aliases": (share_aliases, "a"),
    "an answer of git": (git_messages.shorten, "Please make sure\n"),
    "lines in pieces": (feed_lines, "a"),
    "lines of an error": (sentences.first_lines, "a\n"),
    "output in pieces": (print_dots, "."),
    "secrets in words of a project": (star_words, "a"),
    "secrets in vars": (lambda text: list(secret_shapes.find({text: text}, "spec")), "password"),
}


# Which patterns there are


def find_made(tree: ast.Module) -> Iterator[str]:
    """The names of a module's constants, functions and classes in which a pattern is made."""
    for statement in tree.body:
        if any(map(_makes_pattern, ast.walk(statement))):
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
            bound = [
                node.id
                for target in targets
                if target is not None
                for node in ast.walk(target)
                if isinstance(node, ast.Name)
            ]
            yield from bound or [getattr(statement, "name", "?")]


def _makes_pattern(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in MAKES
    )


def find_uses(tree: ast.Module, name: str) -> set[str]:
    """The methods of a pattern that are called by its name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        and node.attr in MAKES
    }


TREES = {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in modules(OPERATOR)}
FOUND = {f"{module}:{name}": name for module, tree in TREES.items() for name in find_made(tree)}


def collect(value: object) -> Iterator[re.Pattern[str]]:
    """The patterns in a constant."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from collect([*value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from collect(each)


def make_works(name: str) -> list[Work]:
    """What is done with a text that a pattern meets."""
    if work := PATTERNS[name].work:
        return [work]
    module, _, constant = name.partition(":")
    pattern = getattr(importlib.import_module(module), constant)
    # Another module may import it.
    uses = {use for tree in TREES.values() for use in find_uses(tree, constant)}
    uses &= find_uses(TREES[module], constant) or uses
    assert uses, f"{name} is not used by its name: give a work to its row"
    return [_apply(getattr(pattern, use), use) for use in sorted(uses)]


def _apply(method: Any, use: str) -> Work:
    def work(text: str) -> object:
        if use in {"sub", "subn"}:
            return method("", text)
        found = method(text)
        return list(found) if use == "finditer" else found

    return work


def make_pumps(name: str) -> list[Pump]:
    """The worst cases of a pattern: those of its row, and what its parts make."""
    module, _, constant = name.partition(":")
    found = collect(getattr(importlib.import_module(module), constant))
    hard = [each if isinstance(each, Pump) else Pump(each) for each in PATTERNS[name].hard]
    return [*hard, *dict.fromkeys(pump for pattern in found for pump in derive_pumps(pattern))]


def test_every_pattern_has_a_row() -> None:
    other = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "re")
        or (isinstance(node, ast.alias) and node.name == "re" and node.asname)
    ]
    assert other == [], "the patterns of these are not found: write import re"
    assert sorted(FOUND) == sorted(PATTERNS)


def test_a_pattern_is_made_by_a_function_only_where_it_is_not_known_before() -> None:
    made = {name for name in FOUND if callable(_find(name)) and not PATTERNS[name].reason}
    assert made == {
        "dbt_runner.redact:_any_of",
    }


def _find(name: str) -> object:
    module, _, constant = name.partition(":")
    return getattr(importlib.import_module(module), constant)


@pytest.mark.parametrize("name", [name for name, row in PATTERNS.items() if not row.reason])
def test_a_pattern_takes_linear_time(name: str) -> None:
    for work in make_works(name):
        for pump in make_pumps(name):
            assert find_excess(work, pump) == "", pump


@pytest.mark.parametrize("name", LOOPS)
def test_work_without_a_pattern_takes_linear_time(name: str) -> None:
    work, piece = LOOPS[name]
    assert find_excess(work, Pump(piece)) == ""


# The measure itself


@pytest.mark.parametrize(
    ("pattern", "pump"),
    [
        (r"\$\(window[^)]*\)", Pump("$(window")),
        (r"\beyJ[0-9A-Za-z_-]{8,4096}\.", Pump("-eyJ")),
        (r"a+b", Pump("a")),
        (r"(a+)+b", Pump("a")),
        (r"at .*end", Pump("at ")),
    ],
)
def test_a_pattern_of_more_than_linear_time_is_found_out(pattern: str, pump: Pump) -> None:
    compiled = re.compile(pattern)
    assert find_excess(compiled.search, pump) != ""
    assert any(find_excess(compiled.search, each) for each in derive_pumps(compiled))


# The API's patterns


def find_schemas(schema: object) -> Iterator[dict[str, Any]]:
    """Every part of a schema of pydantic's core that has a pattern, or says whose it is."""
    if isinstance(schema, dict):
        if {"pattern", "regex_engine"} & schema.keys():
            yield schema
        for each in schema.values():
            yield from find_schemas(each)
    elif isinstance(schema, list | tuple):
        for each in schema:
            yield from find_schemas(each)


def test_patterns_of_the_api_are_those_of_a_linear_engine() -> None:
    # pydantic's own is Rust's regex, as linear as the API server's RE2. It takes Python's for a
    # pattern that was compiled, or where the configuration of a model says so.
    models: Iterable[type[BaseModel]] = [kind.model for kind in KINDS]
    found = [each for model in models for each in find_schemas(model.__pydantic_core_schema__)]
    assert found
    for each in found:
        assert each.get("regex_engine", "rust-regex") == "rust-regex", each
        assert isinstance(each.get("pattern", ""), str), each
