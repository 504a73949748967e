"""Building images without a daemon, and without a registry to take a base image from: Debian's own
tools make it.
"""

import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import runtime
from tests.cluster.progress import follow, run
from tests.cluster.state import CACHE, TEMPORARY, write

_SUITE = "bookworm"
_PACKAGES = "ca-certificates,python3,python3-venv"
_UNNEEDED = (
    "etc/resolv.conf",
    "usr/share/doc/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
_STORAGE = CACHE / "buildah"
_BUILDAH = (
    "buildah",
    f"--root={_STORAGE}/root",
    f"--runroot={_STORAGE}/run",
    "--storage-driver=overlay",
)
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def built(reference: str) -> bool:
    """Say whether an image has been built."""
    images = json.loads(run([*_BUILDAH, "images", "--json"]) or "[]") or []
    return any(reference in (image.get("names") or []) for image in images)


def loaded() -> set[str]:
    """Return the images that the cluster has."""
    return runtime.loaded_images()


def load(reference: str) -> None:
    """Load an image into the cluster."""
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        archive = Path(folder) / "image.tar"
        run([*_BUILDAH, "push", "--quiet", reference, f"docker-archive:{archive}:{reference}"])
        runtime.load_image(archive)


def build(reference: str, context: Path, dockerfile: Path, arguments: Mapping[str, str]) -> None:
    """Build an image."""
    command = [
        *_BUILDAH,
        "bud",
        "--isolation=chroot",
        "--layers",
        "--pull-never",
        f"--tag={reference}",
    ]
    command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    try:
        follow(
            [*command, *_certificates(), f"--file={dockerfile}", str(context)],
            f"building {reference}",
        )
    finally:
        clean()


def remove(reference: str) -> None:
    """Remove an image, here and from the cluster."""
    run([*_BUILDAH, "rmi", reference], check=False)
    if reference in runtime.loaded_images():
        runtime.remove_image(reference)


def clean() -> None:
    """Remove what unfinished builds have left: containers, and the mounts of their filesystems."""
    if _STORAGE.exists():
        run([*_BUILDAH, "rm", "--all"], check=False)


def base_recipe() -> str:
    """Return all that the base image depends on."""
    return " ".join((_SUITE, _PACKAGES, *_UNNEEDED))


def add_base(context: Path) -> None:
    """Make the base image's root filesystem."""
    with _temporary_root() as root:
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={_PACKAGES}",
            _SUITE,
            str(root),
            *_mirror(),
        ]
        follow(command, "installing a small Debian for the base image")
        for pattern in _UNNEEDED:
            for path in root.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with tarfile.open(context / "rootfs.tar", "w") as archive:
            archive.add(root, ".", filter=_without_devices)


@contextmanager
def _temporary_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        root = Path(folder) / "root"
        root.mkdir()
        yield root


def _without_devices(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.isdev() else entry


def _mirror() -> list[str]:
    """Take the mirror that the machine itself uses, if it is one of this Debian release."""
    if shutil.which("apt-get") is None:
        return []
    targets = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(CODENAME) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ]
    )
    found = re.search(rf"^{_SUITE} main (\S+)$", targets, re.MULTILINE)
    return [found[1]] if found else []


def _certificates() -> list[str]:
    """Let builds trust what this machine trusts, where that is more than the world does."""
    if not any(Path("/usr/local/share/ca-certificates").glob("**/*.crt")):
        return []
    pip = write(_STORAGE / "pip.conf", f"[global]\ncert = {_CA_BUNDLE}\n")
    return [f"--volume={_CA_BUNDLE}:{_CA_BUNDLE}:ro", f"--volume={pip}:/etc/pip.conf:ro"]
