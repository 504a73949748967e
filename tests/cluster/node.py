"""The cluster built from programs: one node that is this machine, in a network of its own."""

import os
import shutil
from functools import partial
from pathlib import Path

from tests.cluster import (
    api,
    buildah,
    components,
    credentials,
    host,
    images,
    network,
    packages,
    processes,
    programs,
    runtime,
)
from tests.cluster.components import Component
from tests.cluster.progress import CommandError, say, wait_for
from tests.cluster.state import BIN, KUBECONFIG, LOGS, NETNS, STATE, ClusterError

NEEDS = "root, on Linux, and Go 1.25 or later"


def possible() -> bool:
    """Say whether this machine can run it."""
    return os.geteuid() == 0 and Path("/proc/self/ns/net").exists()


def up() -> None:
    """Start the cluster, or what of it does not run."""
    packages.add_sbin()
    packages.install()
    programs.build()
    if healthy():
        say("the cluster is up")
        return
    fresh = not network.exists()
    try:
        _start()
    except (TimeoutError, CommandError, OSError) as error:
        if fresh:
            raise ClusterError(f"the cluster did not start: {error}") from error
        say(f"the cluster does not come back, so it is started afresh: {error}")
        down()
        _start()
    say(f"the cluster is up: KUBECONFIG={KUBECONFIG}, logs in {LOGS}")


def healthy() -> bool:
    """Say whether all of it runs and is well."""
    parts = [component for stage in components.stages() for component in stage]
    return network.exists() and all(map(_well, parts)) and api.takes_pods()


def down() -> None:
    """Stop all of it, and remove all that it left. What has been built stays in the cache."""
    packages.add_sbin()
    # First those that would start something anew.
    processes.stop(["kubelet", "kube-controller-manager", "kube-scheduler"])
    if processes.running("containerd"):
        _remove_containers()
    # Only containerd has something to keep: its images. The API server would wait ten seconds for
    # its clients.
    processes.stop(["containerd"])
    processes.stop(processes.names(), seconds=0)
    runtime.kill_remains()
    buildah.clean()
    host.restore()
    shutil.rmtree(STATE, ignore_errors=True)
    say("the cluster is down")


def status() -> list[tuple[str, str]]:
    """Return each component and how it is."""
    _require()
    rows = [
        (component.name, _describe(component))
        for stage in components.stages()
        for component in stage
    ]
    return [*rows, (f"node {credentials.NODE}", "Ready" if api.node_is_ready() else "not ready")]


def command(argv: list[str]) -> list[str]:
    """Return the command that runs another one in the cluster's network."""
    _require()
    return ["nsenter", f"--net={NETNS}", "--", *argv]


def _require() -> None:
    if not network.exists():
        raise ClusterError("there is no cluster: make cluster-up")


def _start() -> None:
    fresh = not network.exists()
    if fresh:
        if STATE.exists():
            down()  # what is left of one that ran before a reboot
        say("starting the cluster")
        host.remember_settings()
        network.create()
    BIN.unlink(missing_ok=True)
    BIN.symlink_to(programs.folder() / "bin")
    credentials.ensure()
    components.configure()
    runtime.configure(images.reference("pause"))
    host.make_cgroups()
    base, server, rest = components.stages()
    _bring_up(base)
    if fresh:
        # A crash may have left some that no kubelet remembers.
        runtime.remove_containers()
    images.load(["pause"])
    _bring_up(server)
    api.allow_coredns()
    _bring_up(rest)
    wait_for("the node to take pods", api.takes_pods)


def _bring_up(stage: list[Component]) -> None:
    for component in stage:
        if not processes.running(component.name, component.argv):
            processes.stop([component.name])
            processes.start(component.name, component.argv)
    for component in stage:
        wait_for(component.name, partial(_came_up, component))
        say(f"{component.name} is well")


def _came_up(component: Component) -> bool:
    if not processes.running(component.name):
        raise CommandError(f"{component.name} has ended:\n{processes.tail(component.name)}")
    return api.answers(component.health)


def _well(component: Component) -> bool:
    return processes.running(component.name, component.argv) and api.answers(component.health)


def _describe(component: Component) -> str:
    if not processes.running(component.name):
        return f"does not run; see {LOGS / component.name}.log"
    return (
        "well" if api.answers(component.health) else f"runs, but {component.health} does not answer"
    )


def _remove_containers() -> None:
    say("removing containers")
    try:
        runtime.remove_containers()
    except CommandError as error:
        # Whatever it is, the next steps need no runtime that answers.
        say(f"  {error}")
