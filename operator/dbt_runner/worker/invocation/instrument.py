"""Makes the templates that dbt's Jinja compiles say what of the context they read.

A name is noted when its value is asked for, not when the template begins, so what stands behind an
``if execute`` is no read. What is noted is the part, where the template says which:
``flags.WHICH``, ``invocation_args_dict['which']``, ``context['flags']``. A name that is passed on,
printed or gone through counts as all of its parts. Nothing stands in for the values themselves, so
a template cannot tell that it is watched.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.idtracking import VAR_LOAD_PARAMETER
from jinja2.nativetypes import NativeCodeGenerator

from dbt_runner.worker.invocation.shown import is_shown, mark_shown

# Whose parts are the names of the context.
INDIRECT = frozenset({"builtins", "context"})
PARTED = INDIRECT | {"dbt_metadata_envs", "env", "flags", "invocation_args_dict", "target"}
# What is never the same again; lipsum is Jinja's, and random.
UNREPEATABLE = frozenset({"run_started_at", "invocation_id", "thread_id", "lipsum"})
WATCHED = PARTED | UNREPEATABLE | {"var"}


class _Noting(CodeGenerator):  # type: ignore[misc,unused-ignore]
    """Has reads of the context noted by methods of the environment, which are those of
    :class:`dbt_runner.worker.invocation.read_recorder.Notes`. Jinja gives its own methods their
    names.
    """

    def visit_Template(  # noqa: N802
        self, node: nodes.Template, frame: Frame | None = None
    ) -> None:
        """Look first for what is only shown."""
        mark_shown(node)
        super().visit_Template(node, frame)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802
        """Note a name of the context."""
        if not self._is_watched(node, frame):
            super().visit_Name(node, frame)
            return
        self.write(f"environment.note_name({node.name!r}, {is_shown(node)}, ")
        super().visit_Name(node, frame)
        self.write(")")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802
        """Note a part of a name."""
        if not self._open_part(node.node, frame):
            super().visit_Getattr(node, frame)
            return
        self.write(f"{node.attr!r}, True)")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        """Note a part of a name."""
        if isinstance(node.arg, nodes.Slice) or not self._open_part(node.node, frame):
            super().visit_Getitem(node, frame)
            return
        self.visit(node.arg, frame)
        self.write(", False)")

    def _open_part(self, name: nodes.Node, frame: Frame) -> bool:
        """Write the beginning of the code for a part of this; whether it has parts to note."""
        if not isinstance(name, nodes.Name) or name.name not in PARTED:
            return False
        if not self._is_watched(name, frame):
            return False
        self.write(f"environment.note_part({name.name!r}, {is_shown(name)}, ")
        super().visit_Name(name, frame)
        self.write(", ")
        return True

    def _is_watched(self, node: nodes.Name, frame: Frame) -> bool:
        """Whether this may be the context's, and not the parameter of a macro."""
        if node.ctx != "load" or node.name not in WATCHED:
            return False
        if node.name == "var" and not is_shown(node):
            return False  # its calls are noted wherever they come from
        load = frame.symbols.find_load(frame.symbols.ref(node.name))
        return load is None or load[0] != VAR_LOAD_PARAMETER


class NotingGenerator(_Noting):
    """For templates that render to text."""


class NativeNotingGenerator(_Noting, NativeCodeGenerator):  # type: ignore[misc,unused-ignore]
    """For templates that render to values."""
