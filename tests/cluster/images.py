"""The images of the product, of its example and of the tests: built, named by what they are made
of, and loaded.

An image's tag is a hash of its inputs. So an image is never stale, is built once, and pods need no
pull policy but IfNotPresent. Hash and build use the same copy of the inputs, and a build sees
nothing else: what the hash does not cover cannot get into the image, even while somebody edits.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.cluster import buildah, kind, programs
from tests.cluster.progress import say
from tests.cluster.state import CACHE, IMAGES, REPOSITORY, TEMPORARY, write

_REGISTRY = "dbt-operator.local"
_USED = CACHE / "images"
_KEPT = (
    3  # generations of each image: those of another branch, or of a test that runs while we build
)


@dataclass(frozen=True)
class Image:
    """How an image is made: from which Dockerfile, on which other image, of which files and
    programs.
    """

    dockerfile: str
    inputs: Sequence[str] = ()
    parent: str | None = None
    parent_argument: str = "BASE_IMAGE"
    program: str | None = None
    context: str = "."
    arguments: Mapping[str, str] = field(default_factory=dict)


# The minor versions of dbt that have a lock of their own, beside the usual one of images/dbt. That
# of dbt 2 is apart: it is a program, and its image is made in another way.
DBT_LOCKS = {
    path.parent.name: path for path in sorted(REPOSITORY.glob("images/dbt/1.*/requirements.lock"))
}
DBT_2_LOCK = REPOSITORY / "images/dbt/2.0/requirements.lock"


def _dbt(lock: str) -> Image:
    return Image("images/dbt/Dockerfile", [lock], "base", arguments={"LOCK": lock})


_TESTS = "tests/cluster/images"
_ALL = {
    "base": Image(f"{_TESTS}/base/Dockerfile"),
    "dbt": _dbt("images/dbt/requirements.lock"),
    **{
        f"dbt-{version}": _dbt(str(lock.relative_to(REPOSITORY)))
        for version, lock in DBT_LOCKS.items()
    },
    "dbt-spark": _dbt(f"{_TESTS}/dbt-spark/requirements.lock"),
    "dbt-2.0": Image("images/dbt/2.0/Dockerfile", ["images/dbt/2.0/requirements.lock"], "base"),
    "git": Image(f"{_TESTS}/git/Dockerfile", [f"{_TESTS}/git/server.py"], "base"),
    "minio": Image(f"{_TESTS}/minio/Dockerfile", program="minio"),
    "next-operator": Image(f"{_TESTS}/next/Dockerfile", parent="operator"),
    "next-runner": Image(f"{_TESTS}/next/Dockerfile", parent="runner"),
    "operator": Image(
        "images/operator/Dockerfile",
        [
            "images/operator/requirements.lock",
            "operator/dbt_notifier",
            "operator/dbt_operator",
            "operator/dbt_protocol",
        ],
        "base",
    ),
    "pause": Image(f"{_TESTS}/pause/Dockerfile", program="pause"),
    "postgres": Image(
        f"{_TESTS}/postgres/Dockerfile", [f"{_TESTS}/postgres/entrypoint.sh"], "base"
    ),
    "receiver": Image(
        f"{_TESTS}/receiver/Dockerfile",
        [f"{_TESTS}/receiver/{name}" for name in ("requirements.lock", "server.py")],
        "base",
    ),
    "runner": Image(
        "images/runner/Dockerfile",
        [
            "images/runner/requirements.lock",
            "images/runner/__main__.py",
            "operator/dbt_protocol",
            "operator/dbt_runner",
        ],
        "base",
    ),
    "spark": Image(
        f"{_TESTS}/spark/Dockerfile",
        [
            f"{_TESTS}/spark/{name}"
            for name in ("entrypoint.sh", "hive-site.xml", "requirements.lock")
        ],
        "base",
    ),
    "shop": Image(
        "examples/shop/Dockerfile", ["examples/shop"], "dbt", "DBT_IMAGE", context="examples/shop"
    ),
}
_FOR_PODS = ("operator", "runner", "dbt", "shop", "postgres", "minio", "git")
_FOR_TESTS = (
    "receiver",
    "next-operator",
    "next-runner",
    "dbt-2.0",
    *(f"dbt-{version}" for version in DBT_LOCKS),
)
_FOR_FULL = ("spark", "dbt-spark")
_DERIVED = ("__pycache__", "dbt_packages", "logs", "target")


def ensure(*, for_tests: bool = False, for_full: bool = False) -> Mapping[str, str]:
    """Build and load what is missing; returns the reference of each image.

    Args:
        for_tests: also what only tests use: other versions of dbt, and a later release of our own
            images.
        for_full: also what only `make test-full` uses: Spark.
    """
    more = [*(_FOR_TESTS if for_tests else ()), *(_FOR_FULL if for_full else ())]
    references = load([*_FOR_PODS, *more])
    write(IMAGES, json.dumps(references, indent=2) + "\n")
    return references


def load(names: Iterable[str]) -> Mapping[str, str]:
    """Build some images and load them into the cluster, unless they are there; returns their
    references.
    """
    there = _tool().loaded()
    with _snapshot() as sources:
        references = {name: reference(name, sources) for name in names}
        for name, wanted in references.items():
            if wanted not in there:
                _build(name, sources)
                say(f"loading {wanted}")
                _tool().load(wanted)
        parents = {image.parent for name in references if (image := _ALL[name]) and image.parent}
        _remove_old(references | {name: reference(name, sources) for name in parents})
    return references


def load_folder(name: str, folder: Path, dockerfile: Path) -> str:
    """Build and load an image of files that are not the repository's, on top of that of dbt;
    returns its reference.

    Args:
        name: the image's.
        folder: what is in it, and all that a build sees.
        dockerfile: it takes the parent as DBT_IMAGE.
    """
    found = reference_folder(name, folder, dockerfile)
    if found not in _tool().loaded():
        if not _tool().built(found):
            parent = {"DBT_IMAGE": load(["dbt"])["dbt"]}
            _tool().build(found, folder, dockerfile, parent)
        say(f"loading {found}")
        _tool().load(found)
    _remove_old({name: found})
    return found


def reference_folder(name: str, folder: Path, dockerfile: Path) -> str:
    """Return the full name of an image of :func:`load_folder`."""
    digest = hashlib.sha256(reference("dbt").encode() + dockerfile.read_bytes())
    for path in sorted(folder.rglob("*")):
        digest.update(f"\0{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return f"{_REGISTRY}/{name}:{digest.hexdigest()[:12]}"


@cache
def reference(name: str, sources: Path = REPOSITORY) -> str:
    """Return an image's full name: it tells what the image is made of."""
    image = _ALL[name]
    digest = hashlib.sha256()
    if name == "base":
        digest.update(buildah.base_recipe().encode())
    if image.parent:
        digest.update(reference(image.parent, sources).encode())
    if image.program:
        digest.update(programs.folder().name.encode())
    for argument in image.arguments.items():
        digest.update(f"\0{argument}".encode())
    for path in _files(image, sources):
        digest.update(f"\0{path.relative_to(sources)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return f"{_REGISTRY}/{name}:{digest.hexdigest()[:12]}"


def _build(name: str, sources: Path) -> None:
    if _tool().built(reference(name, sources)):
        return
    image = _ALL[name]
    arguments = dict(image.arguments)
    if image.parent:
        _build(image.parent, sources)
        arguments[image.parent_argument] = reference(image.parent, sources)
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        context = Path(folder)
        _copy(image, sources, context)
        if image.program:
            shutil.copy2(programs.folder() / image.program, context)
        if name == "base":
            _tool().add_base(context)
        _tool().build(
            reference(name, sources), context / image.context, context / image.dockerfile, arguments
        )


@contextmanager
def _snapshot() -> Iterator[Path]:
    """Copy the inputs of all images: others may be editing them."""
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
        for image in _ALL.values():
            _copy(image, REPOSITORY, Path(folder))
        yield Path(folder)


def _copy(image: Image, source: Path, target: Path) -> None:
    for path in _files(image, source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)


def _files(image: Image, sources: Path) -> Iterator[Path]:
    """Yield the files that an image is made of, without those that running something has left among
    them.
    """
    for name in (image.dockerfile, *image.inputs):
        path = sources / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            parts = file.relative_to(sources).parts
            if (
                file.is_file()
                and not set(parts).intersection(_DERIVED)
                and file.suffix not in (".duckdb", ".pyc")
            ):
                yield file


def _remove_old(used: Mapping[str, str]) -> None:
    """Remove all but the last few generations of each image in use."""
    for name, latest in used.items():
        mark = _USED / name / latest.rpartition(":")[2]
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        marks = sorted(mark.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in marks[_KEPT:]:
            say(f"removing {_REGISTRY}/{name}:{old.name}")
            _tool().remove(f"{_REGISTRY}/{name}:{old.name}")
            old.unlink()


def _tool() -> ModuleType:
    return kind if kind.usable() else buildah
