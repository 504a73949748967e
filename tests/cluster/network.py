"""The cluster's private network: a namespace from which no packet can leave the machine.

Its addresses are those reserved for documentation: whatever a test gets wrong, it meets no real
machine.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import run
from tests.cluster.state import NETNS

NODE_ADDRESS = "192.0.2.1"
PODS = "203.0.113.0/24"
SERVICES = "198.51.100.0/24"

# A bridge without ports stands in for the node's network card: the dummy device is not in every
# kernel.
_CARD = "node"
_SYSCTLS = (
    "net.ipv4.ip_forward=1",
    # Or the answers of a pod on the same bridge come from its own address instead of the service's.
    "net.bridge.bridge-nf-call-iptables=1",
    # Each refusal is told, not one a second.
    "net.ipv4.icmp_ratelimit=0",
)
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def exists() -> bool:
    """Say whether the namespace is there; its file alone means nothing after a reboot."""
    return NETNS.exists() and os.path.ismount(NETNS)


def create() -> None:
    """Make the namespace and the node's network card."""
    NETNS.parent.mkdir(parents=True, exist_ok=True)
    NETNS.touch()
    run(["unshare", f"--net={NETNS}", "true"])
    for command in (
        "ip link set lo up",
        f"ip link add {_CARD} type bridge",
        f"ip address add {NODE_ADDRESS}/24 dev {_CARD}",
        f"ip link set {_CARD} up",
        # Services have addresses in no network: what is sent there needs a way before their rules
        # get to see it.
        f"ip route add {SERVICES} dev {_CARD}",
        # All else is refused at once, so that nobody waits in vain: a pull of a missing image, or
        # dbt's news.
        "ip route add unreachable default",
        *(f"sysctl --quiet --write {setting}" for setting in _SYSCTLS),
    ):
        run(["nsenter", f"--net={NETNS}", "--", *command.split()])


@contextmanager
def inside() -> Iterator[None]:
    """Enter the namespace, this thread only: sockets opened here belong to it."""
    with Path("/proc/thread-self/ns/net").open() as home, NETNS.open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
