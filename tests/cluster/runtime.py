"""The container runtime: its configuration, the images in it, and the removal of what runs in it.

Images are kept in the cache, so that the next cluster has them. All else goes with the cluster.
"""

import json
import shutil
from pathlib import Path

from tests.cluster import network, packages, processes
from tests.cluster.progress import CommandError, run
from tests.cluster.state import CACHE, NETNS, STATE, write

ROOT = CACHE / "containerd"
SOCKET = STATE / "containerd.sock"
CONFIG = STATE / "containerd.toml"
CGROUP = "dbt-operator"
_CNI = STATE / "cni"
_NETWORK = "dbt-operator"
_CGROUPS = Path("/sys/fs/cgroup")


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
    plugins = {"cniVersion": "0.4.0", "name": _NETWORK, "plugins": [bridge]}
    write(_CNI / "conf" / "10-pods.conflist", json.dumps(plugins, indent=2))


def _containerd(pause: str) -> str:
    return f"""\
version = 2
root = "{ROOT}"
state = "{STATE}/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "{STATE}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE nobody may make a process less likely to be killed; asking for it fails every pod.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{packages.CNI_PLUGINS}"
conf_dir = "{_CNI}/conf"
"""


def ctr(*arguments: str | Path) -> list[str]:
    """Ask containerd something; returns the lines of its answer."""
    return run(["ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments]).split("\n")[:-1]


def loaded_images() -> set[str]:
    """Return the names of the images in the cluster."""
    return set(ctr("images", "list", "--quiet"))


def load_image(archive: Path) -> None:
    """Load an image into the cluster."""
    ctr("images", "import", archive)


def remove_image(reference: str) -> None:
    """Remove an image from the cluster."""
    ctr("images", "remove", reference)


def remove_containers() -> None:
    """Remove all containers that containerd knows, running or left by a crash."""
    if tasks := ctr("tasks", "list", "--quiet"):
        ctr("tasks", "remove", "--force", *tasks)
    if containers := ctr("containers", "list", "--quiet"):
        ctr("containers", "remove", *containers)


def make_cgroups() -> None:
    """Make the cgroup below which the kubelet puts all pods: one that is ours alone."""
    for hierarchy in _hierarchies():
        (hierarchy / CGROUP).mkdir(exist_ok=True)


def remove_remains() -> None:
    """Remove what containers leave behind when their runtime is gone: processes, mounts, cgroups, addresses."""
    processes.kill(_processes())
    unmount()
    for hierarchy in _hierarchies():
        for folder in sorted((hierarchy / CGROUP).glob("**/"), reverse=True):
            folder.rmdir()
    # The plugins' library has this folder built in.
    for result in Path("/var/lib/cni/results").glob(f"{_NETWORK}-*"):
        result.unlink()


def unmount() -> None:
    """Unmount all that is mounted below the cluster's state, the last first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in (mount.encode().decode("unicode_escape") for mount in reversed(mounts)):
        if path.startswith(f"{STATE}/") and path != str(NETNS):
            run(["umount", path])


def drop_images() -> None:
    """Forget all images: what containerd keeps about them has been damaged."""
    shutil.rmtree(ROOT, ignore_errors=True)


def _processes() -> set[int]:
    """Find the processes of our containers, and the shims that hold them."""
    shims = {pid for pid, words in processes.all_arguments() if "-address" in words and str(SOCKET) in words}
    files = [file for folder in _hierarchies() for file in (folder / CGROUP).glob("**/cgroup.procs")]
    return shims.union(int(pid) for file in files for pid in file.read_text().split())


def _hierarchies() -> list[Path]:
    """Return the roots of the control group hierarchies: one, or before version 2 one a controller."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [folder for folder in _CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def remove_quietly() -> None:
    """Remove the containers if the runtime still answers; if it does not, its remains are removed later."""
    try:
        remove_containers()
    except CommandError:
        return
