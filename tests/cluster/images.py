"""The images of the product, of its example and of the tests: built, named by what they are made of, and loaded.

An image's tag is a hash of its inputs. So an image is never stale, is built once, and pods need no pull policy but
IfNotPresent. A build sees a copy of its inputs only: what the hash does not cover, it cannot use.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.cluster import buildah, kind, programs
from tests.cluster.progress import say
from tests.cluster.state import IMAGES, REPOSITORY, STATE, write

_REGISTRY = "dbt-operator.local"
_KEPT = 3  # generations of each image: those of another branch, or of a test that runs while we build


@dataclass(frozen=True)
class Image:
    """How an image is made: from which Dockerfile, on which other image, of which files and programs."""

    dockerfile: str
    inputs: Sequence[str] = ()
    parent: str | None = None
    parent_argument: str = "BASE_IMAGE"
    program: str | None = None
    context: str = "."


# Each stands after its parent.
_ALL = {
    "pause": Image("tests/cluster/images/pause/Dockerfile", program="pause"),
    "base": Image("tests/cluster/images/base/Dockerfile"),
    "operator": Image(
        "images/operator/Dockerfile",
        ["images/operator/requirements.lock", "operator/dbt_operator", "operator/dbt_runner"],
        "base",
    ),
    "runner": Image(
        "images/runner/Dockerfile",
        ["images/runner/requirements.lock", "images/runner/__main__.py", "operator/dbt_runner"],
        "base",
    ),
    "dbt": Image("images/dbt/Dockerfile", ["images/dbt/requirements.lock"], "base"),
    "shop": Image("examples/shop/Dockerfile", ["examples/shop"], "dbt", "DBT_IMAGE", context="examples/shop"),
    "postgres": Image(
        "tests/cluster/images/postgres/Dockerfile", ["tests/cluster/images/postgres/entrypoint.sh"], "base"
    ),
    "minio": Image("tests/cluster/images/minio/Dockerfile", program="minio"),
}
_LOADED = [name for name in _ALL if name not in ("pause", "base")]


def ensure() -> Mapping[str, str]:
    """Build and load what is missing; returns the reference of each image by its name."""
    names = [name for name in _LOADED if (REPOSITORY / _ALL[name].dockerfile).exists()]
    load(names)
    _remove_old(names)
    references = {name: reference(name) for name in names}
    write(IMAGES, json.dumps(references, indent=2) + "\n")
    return references


def load(names: Iterable[str]) -> None:
    """Build some images and load them into the cluster, if they are not there."""
    there = _tool().loaded()
    for name in names:
        if reference(name) in there:
            continue
        _build(name)
        say(f"loading {reference(name)}")
        _tool().load(reference(name))


@cache
def reference(name: str) -> str:
    """Return an image's full name: it tells what the image is made of."""
    image = _ALL[name]
    digest = hashlib.sha256((REPOSITORY / image.dockerfile).read_bytes())
    if name == "base":
        digest.update(buildah.base_recipe().encode())
    if image.parent:
        digest.update(reference(image.parent).encode())
    if image.program:
        digest.update(programs.folder().name.encode())
    for path in _files(image):
        digest.update(f"\0{path.relative_to(REPOSITORY)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return f"{_REGISTRY}/{name}:{digest.hexdigest()[:12]}"


def _build(name: str) -> None:
    if _tool().built(reference(name)):
        return
    image = _ALL[name]
    arguments = {}
    if image.parent:
        _build(image.parent)
        arguments[image.parent_argument] = reference(image.parent)
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE, prefix=f"build-{name}-") as context:
        _copy_inputs(name, Path(context))
        _tool().build(reference(name), Path(context, image.context), Path(context, image.dockerfile), arguments)


def _copy_inputs(name: str, context: Path) -> None:
    image = _ALL[name]
    for path in {REPOSITORY / image.dockerfile, *_files(image)}:
        copy = context / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    if image.program:
        shutil.copy2(programs.folder() / image.program, context)
    if name == "base":
        _tool().add_base(context)


def _files(image: Image) -> Iterator[Path]:
    for name in image.inputs:
        path = REPOSITORY / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and not _derived(file.relative_to(REPOSITORY)))


def _derived(path: Path) -> bool:
    """Say whether a file is the result of running something, not a source."""
    return any(part in ("__pycache__", "target", "logs", "dbt_packages") for part in path.parts) or path.suffix in (
        ".duckdb",
        ".pyc",
    )


def _remove_old(names: Iterable[str]) -> None:
    for name in names:
        _tool().remove_old(f"{_REGISTRY}/{name}", _KEPT)


def _tool():
    return kind if kind.usable() else buildah
