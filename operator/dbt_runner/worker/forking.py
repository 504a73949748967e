"""Forks the children that run steps, and ends them."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from dbt_protocol.flag_variables import overrule


def fork_child(work: Callable[[], None], *, parses: bool = False) -> int:
    """Have a child do some work, and return its process ID.

    Args:
        work: what is to be done.
        parses: the child is a zygote, and this process has started no static parser.
    """
    child = _fork()
    if child == 0:
        _run_child(work, parses=parses)
    return child


def _fork() -> int:
    """Fork with SIGINT held back, so that one which comes now reaches the child when that is ready
    for it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with warnings.catch_warnings():
        # 3.12 counts the static parser's idle threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return child


def _run_child(work: Callable[[], None], *, parses: bool) -> NoReturn:
    """Do the child's work and end: the zygote's stack below is none of its business."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not parses:
            # The static parser's threads did not come along; a parse in the child would wait for
            # them for ever.
            overrule(os.environ, DBT_STATIC_PARSER="false")
            gc.enable()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work()
        code = 0
    except KeyboardInterrupt:
        code = 130
    finally:
        leave(code)
    raise AssertionError  # not reached


def leave_interrupts_to_children() -> None:
    """Take no notice of SIGINT: it is meant for the child, and this process ends with the pipe."""
    signal.signal(signal.SIGINT, lambda *_: None)


def leave(code: int) -> NoReturn:
    """End without taking the interpreter apart, which takes a while and lets libraries complain
    about leaks.

    The handlers of atexit have to run: they release the semaphores that dbt's locks hold.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - nothing public runs them before os._exit
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def may_fork(isolation: str, idle_threads: int) -> bool:
    """Whether steps may be forked off this process.

    Args:
        isolation: the plan's; "Auto" asks how many threads there are.
        idle_threads: how many there may be beside the one that forks.
    """
    if isolation == "Auto":
        return count_threads() <= 1 + idle_threads
    return isolation == "Fork"


def count_threads() -> int:
    """Threads of this process, also those that Python does not know of."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def start_static_parser() -> int:
    """Start dbt's static parser, and return how many idle threads that adds."""
    before = count_threads()
    try:
        import_module("dbt_extractor").py_extract_from_source("select 1")
    except Exception:  # noqa: BLE001 - without it dbt renders the Jinja, and starts no threads
        return 0
    return count_threads() - before
