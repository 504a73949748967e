"""The command line: python -m tests.cluster up | down | status | images | exec -- COMMAND."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tests.cluster import host, images, kind, node
from tests.cluster.progress import CommandError
from tests.cluster.state import BIN, KUBECONFIG, LOGS, REPOSITORY, STATE, ClusterError, locked

_DESCRIPTION = """\
A real Kubernetes for the tests and the demo. Where Docker and kind are at hand, kind makes it.
Elsewhere, as root on Linux and with Go, it is built: the first time takes ten minutes,
later it starts in twenty seconds.
"""


def main() -> int:
    """Run a command; returns the exit code."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except (ClusterError, CommandError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=_DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("up", _up, "start the cluster, or what of it does not run"),
        ("down", _down, "stop it, and remove all that it left; what was built stays in the cache"),
        ("status", _status, "say how it is, and where its kubeconfig and logs are"),
        ("images", _images, "build the images and load them into the cluster; print their names"),
        (
            "exec",
            _exec,
            "run a command in the cluster's network, with kubectl, helm and a kubeconfig at hand",
        ),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name == "images":
            command.add_argument(
                "--for-tests",
                action="store_true",
                help="also what only tests use: other versions of dbt, a later release",
            )
            command.add_argument(
                "--for-full", action="store_true", help="also what only make test-full uses: Spark"
            )
        if name == "exec":
            command.add_argument(
                "argv",
                nargs="+",
                metavar="ARGUMENT",
                help="after --: the command and its arguments",
            )
    return parser


def _cluster() -> ModuleType:
    if kind.usable():
        return kind
    if not node.possible():
        raise ClusterError(f"a cluster needs Docker (running) and kind; or else {node.NEEDS}")
    return node


@contextmanager
def _alone() -> Iterator[None]:
    with locked():
        host.new_temporary()
        yield


def _up(_: argparse.Namespace) -> int:
    with _alone():
        _cluster().up()
    return 0


def _down(_: argparse.Namespace) -> int:
    with _alone():
        _cluster().down()
    return 0


def _status(_: argparse.Namespace) -> int:
    rows = _cluster().status()
    for name, state in rows:
        print(f"{name:<24} {state}")
    print(f"{'kubeconfig':<24} {KUBECONFIG}\n{'logs':<24} {LOGS}")
    return 0 if all(state in ("well", "Ready") for _, state in rows) else 1


def _images(arguments: argparse.Namespace) -> int:
    _cluster().command(["true"])
    with _alone():
        references = images.ensure(for_tests=arguments.for_tests, for_full=arguments.for_full)
    print(json.dumps(references, indent=2))
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    argv = _cluster().command(arguments.argv)
    path = [str(BIN), str(REPOSITORY / ".venv" / "bin"), os.environ["PATH"]]
    os.environ |= {
        "HELM_CACHE_HOME": str(STATE / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(STATE / "helm" / "config"),
        "HELM_DATA_HOME": str(STATE / "helm" / "data"),
        "KUBECACHEDIR": str(STATE / "kubectl"),
        "KUBECONFIG": str(KUBECONFIG),
        "PATH": os.pathsep.join(path),
    }
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
