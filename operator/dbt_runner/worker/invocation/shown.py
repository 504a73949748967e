"""Finds what a template only shows: expressions of which nothing is done but that their values go
straight into its output.

``{{ var('ds') }}`` is one, with a literal default and plain filters, in no call, no statement and
nothing that is captured. The same holds for a name that ``{% set %}`` gives to such an expression.
While dbt parses, the output of a model's body is thrown away, and so is what is shown there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from jinja2 import nodes

# What has no method that changes it, so that methods may be called.
_CONSTANTS = frozenset({"run_started_at", "invocation_id", "thread_id"})
_SHOWABLE = _CONSTANTS | {"dbt_metadata_envs", "env", "flags", "invocation_args_dict", "target"}

Aliases = dict[str, list[nodes.Assign]]


def mark_shown(template: nodes.Template) -> None:
    """Mark the names of the context that a template only shows."""
    straight = list(_walk_straight(template.body))
    shown = [each for node in straight if isinstance(node, nodes.Output) for each in node.nodes]
    aliases = _find_aliases(template, straight, shown)
    values = [assign.node for assigns in aliases.values() for assign in assigns]
    for expression in [*shown, *values]:
        for name in _find_shown(expression, aliases) or ():
            name.is_shown = True  # type: ignore[attr-defined]


def is_shown(name: nodes.Name) -> bool:
    """Whether a name has been marked."""
    return getattr(name, "is_shown", False)


def _walk_straight(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """The statements whose output is that of the template."""
    for node in body:
        yield node
        if isinstance(node, nodes.If):
            yield from _walk_straight([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, nodes.For) and not node.recursive:
            yield from _walk_straight([*node.body, *node.else_])


def _find_aliases(
    template: nodes.Template, straight: Iterable[nodes.Node], shown: Iterable[nodes.Node]
) -> Aliases:
    """Names that stand for something that may be shown, and are themselves only shown."""
    found: Aliases = {}
    for node in straight:
        if not isinstance(node, nodes.Assign) or not isinstance(node.target, nodes.Name):
            continue
        if node.target.name not in _SHOWABLE and _find_shown(node.node):
            found.setdefault(node.target.name, []).append(node)
    known = {id(assign.target) for assigns in found.values() for assign in assigns}
    known |= {id(name) for each in shown for name in _find_shown(each, found) or ()}
    for name in template.find_all(nodes.Name):
        if name.name in found and id(name) not in known:
            del found[name.name]
    return found


def _find_shown(node: nodes.Node, aliases: Collection[str] = ()) -> list[nodes.Name] | None:
    """The names that an expression shows; None if it does anything else."""
    if _is_literal(node):
        return []
    if isinstance(node, nodes.Name):
        return [node] if node.name in aliases or node.name in _SHOWABLE else None
    if isinstance(node, nodes.Concat):
        parts = [_find_shown(each, aliases) for each in node.nodes]
        return None if None in parts else [name for part in parts for name in part or ()]
    if isinstance(node, nodes.Filter):
        is_plain = node.node is not None and _has_literals(node)
        return _find_shown(node.node, aliases) if is_plain and node.node is not None else None
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        return [node.node] if _is_var(node) else None
    root = _find_root(node)
    return [root] if root is not None and root.name in _SHOWABLE else None


def _is_var(call: nodes.Call) -> bool:
    """Whether this is ``var('name')``, or ``var('name', 'literal')``."""
    named = bool(call.args) and isinstance(call.args[0], nodes.Const)
    return (
        isinstance(call.node, nodes.Name)
        and call.node.name == "var"
        and named
        and (_has_literals(call))
    )


def _find_root(node: nodes.Node) -> nodes.Name | None:
    """The name that an attribute belongs to in the end; None if anything but attributes and calls
    with literals is on the way there.
    """
    calls = False
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Call) and _has_literals(node):
            calls = True
        elif not isinstance(node, nodes.Getattr) and not (
            isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const)
        ):
            return None
        node = node.node
    return None if calls and node.name not in _CONSTANTS else node


def _has_literals(node: nodes.Call | nodes.Filter) -> bool:
    """Whether all arguments are literals."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return False
    return all(_is_literal(each) for each in [*node.args, *(pair.value for pair in node.kwargs)])


def _is_literal(node: nodes.Node) -> bool:
    return isinstance(node, (nodes.Const, nodes.TemplateData)) or (
        isinstance(node, nodes.Neg) and isinstance(node.node, nodes.Const)
    )
