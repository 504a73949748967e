"""What the cluster changes on the machine outside of its own folder, and how that is undone.

All names here are of this one cluster: another one on the same machine, of whomever, is not
touched.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import processes
from tests.cluster.progress import run, wait_for
from tests.cluster.state import NAME, STATE, TEMPORARY, ClusterError, write

_CGROUPS = Path("/sys/fs/cgroup")
# All pods together count as one process where others want the processors as well, and other suites
# want them all the time. So they get the share of many: by file, of version 1 and of version 2.
_SHARES = {"cpu.shares": 16 * 1024, "cpu.weight": 16 * 100}
_SETTINGS = STATE / "settings.json"
# The kubelet sets these for the whole machine, and cannot be told not to.
_KUBELET_SETS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
)


def remember_settings() -> None:
    """Write down the settings that the kubelet is going to change."""
    paths = [path for name in _KUBELET_SETS if (path := Path("/proc/sys", name)).exists()]
    write(_SETTINGS, json.dumps({str(path): path.read_text() for path in paths}))


def make_cgroups() -> None:
    """Make the cgroup below which the kubelet puts all pods."""
    for cgroup in _cgroups():
        cgroup.mkdir(exist_ok=True)
        for name, share in _SHARES.items():
            if (cgroup / name).exists():
                (cgroup / name).write_text(str(share))


def container_processes() -> set[int]:
    """Return the processes of all pods."""
    files = [file for cgroup in _cgroups() for file in cgroup.glob("**/cgroup.procs")]
    return {int(pid) for file in files for pid in file.read_text().split()}


def restore() -> None:
    """Undo all changes. The cluster's processes must have ended."""
    _unmount(STATE)
    wait_for("the pods' cgroups to go", _remove_cgroups, 60)
    # These folders are built into the runtime's network library and into the kubelet.
    _remove(Path("/var/lib/cni/results").glob(f"{NAME}-*"))
    _remove(link for link in Path("/var/log/containers").glob("*.log") if _is_ours(link))
    if _SETTINGS.exists():
        for path, value in json.loads(_SETTINGS.read_text()).items():
            Path(path).write_text(value)


def new_temporary() -> None:
    """Make the folder for temporary files anew."""
    _unmount(TEMPORARY)  # debootstrap mounts /proc
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir()


def _unmount(folder: Path) -> None:
    """Unmount what is mounted below a folder that is to be removed, the last first."""
    for path in reversed(_mounts(folder)):
        run(["umount", "--lazy", path])
    if left := _mounts(folder):
        # What is removed next would be removed from these as well.
        raise ClusterError(f"still mounted: {' '.join(left)}")


def _mounts(folder: Path) -> list[str]:
    paths = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [path for path in map(_unescape, paths) if path.startswith(f"{folder}/")]


def _remove_cgroups() -> bool:
    try:
        for cgroup in _cgroups():
            for folder in sorted(cgroup.glob("**/"), reverse=True):
                folder.rmdir()
    except OSError:  # a process that was killed is not quite gone
        processes.kill(container_processes())
        return False
    return True


def _cgroups() -> list[Path]:
    """Return our cgroup, once a controller before version 2 of the control groups."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / NAME]
    return [
        folder / NAME
        for folder in _CGROUPS.iterdir()
        if folder.is_dir() and not folder.is_symlink()
    ]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_ours(link: Path) -> bool:
    return link.is_symlink() and str(link.readlink()).startswith(f"{STATE}/")


def _unescape(path: str) -> str:
    """Turn the kernel's \\040 back into a blank."""
    return path.encode("latin-1", "backslashreplace").decode("unicode_escape")
