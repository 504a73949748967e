"""The container runtime: its configuration, the images in it, and the removal of what runs in it.

Images are kept in the cache, so that the next cluster has them. All else goes with the cluster.
"""

import json
from pathlib import Path

from tests.cluster import host, network, packages, processes
from tests.cluster.progress import run
from tests.cluster.state import CACHE, NAME, STATE, write

SOCKET = STATE / "containerd.sock"
CONFIG = STATE / "containerd.toml"
_STATE = STATE / "containerd"
_CNI = STATE / "cni"


def configure(pause: str) -> None:
    """Write containerd's configuration, and that of the pods' network."""
    write(CONFIG, _containerd(pause))
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(_CNI / "addresses"),
            "ranges": [[{"subnet": network.PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = {"cniVersion": "0.4.0", "name": NAME, "plugins": [bridge]}
    write(_CNI / "conf" / "10-pods.conflist", json.dumps(plugins, indent=2))


def _containerd(pause: str) -> str:
    return f"""\
version = 2
root = "{CACHE}/containerd"
state = "{_STATE}"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "{STATE}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE nobody may make a process less likely to be killed; asking for it
# fails every pod.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{STATE}/runc"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{packages.CNI_PLUGINS}"
conf_dir = "{_CNI}/conf"
"""


def loaded_images() -> set[str]:
    """Return the names of the images in the cluster."""
    return set(_ctr("images", "list", "--quiet"))


def load_image(archive: Path) -> None:
    """Load an image into the cluster."""
    _ctr("images", "import", archive)


def remove_image(reference: str) -> None:
    """Remove an image from the cluster."""
    _ctr("images", "remove", reference)


def remove_containers() -> None:
    """Remove all containers that containerd knows, running or left by a crash."""
    if tasks := _ctr("tasks", "list", "--quiet"):
        # It complains of those that end by themselves in the meantime.
        _ctr("tasks", "remove", "--force", *tasks, check=False)
    if containers := _ctr("containers", "list", "--quiet"):
        _ctr("containers", "remove", *containers)


def kill_remains() -> None:
    """Kill the pods' processes that are left, and the shims that hold them: they outlive
    containerd.
    """
    shims = {
        pid
        for pid, words in processes.all_arguments()
        if "-address" in words and str(SOCKET) in words
    }
    processes.kill(shims | host.container_processes())
    # A shim that is killed leaves its socket, in a folder that all instances of containerd share.
    for file in _STATE.glob("io.containerd.runtime.v2.task/*/*/address"):
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _ctr(*arguments: str | Path, check: bool = True) -> list[str]:
    return run(
        ["ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments], check=check
    ).splitlines()
