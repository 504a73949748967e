"""`make public-projects`: projects of other people, each twice by the product and twice by dbt
alone, compared node by node and timed.

Their files are fetched by commit from where they are public (:mod:`tests.public.table`), and kept
in the cache outside of the repository. Nothing is asked of a hub: the packages are fetched
likewise, and named by paths. With ``--mirror`` another address stands for the public host's, for
example that of a mirror behind a firewall.

On the cluster, the projects are in an image on top of that of dbt, and each has a DbtProject, a
DbtTarget, and one DbtRun after another; dbt alone runs in a Job of the same image. With ``--here``
the runner is a process on this machine, without a cluster and on a PostgreSQL of its own.

It prints for each how it ended, its counts, and the seconds of the first and of the second run, the
product's and dbt's. It ends with 1 if the verdict, the status of a node, the number of rows that
failed a test, or the number of things in the manifest is another one than dbt's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from tests.cluster import images
from tests.cluster.state import locked
from tests.public import here, in_cluster
from tests.public.checkout import put_together
from tests.public.outcomes import Outcome, compare
from tests.public.table import PROJECTS, PublicProject

DOCKERFILE = Path(__file__).with_name("Dockerfile")
RUNS = ("first", "second")


class Place(Protocol):
    """Where projects are run."""

    def prepare(self, project: PublicProject) -> None: ...

    def run(self, project: PublicProject) -> Outcome: ...

    def run_bare(self, project: PublicProject) -> Outcome: ...


def try_project(place: Place, project: PublicProject) -> bool:
    """Run a project both ways, twice; whether all was alike."""
    alike = True
    place.prepare(project)
    for which in RUNS:
        bare, ours = place.run_bare(project), place.run(project)
        print(
            f"{project.name}, {which} run: {ours.verdict}; {ours.things.get('nodes', 0)} nodes; "
            f"{ours.count()}; ours {ours.seconds:.1f} s (parse {ours.parse}), "
            f"dbt {bare.seconds:.1f} s",
            flush=True,
        )
        differences = compare(ours, bare)
        for difference in differences:
            print(f"  {difference}", flush=True)
        alike = alike and not differences
    return alike


def choose(names: Sequence[str]) -> list[PublicProject]:
    """The projects of these names, or all."""
    known = {project.name: project for project in PROJECTS}
    if unknown := set(names) - known.keys():
        raise SystemExit(f"no project is called {', '.join(unknown)}: {', '.join(known)}")
    return [known[name] for name in names] or list(PROJECTS)


def put_all_together(projects: Sequence[PublicProject], mirror: str, to: Path) -> None:
    """Make a folder of each, in a folder."""
    for project in projects:
        put_together(project, mirror, to / project.name)


def load_image(mirror: str) -> str:
    """Have the image with all projects in the cluster; its reference."""
    with TemporaryDirectory() as name, locked():
        put_all_together(PROJECTS, mirror, Path(name))
        return images.load_folder("public", Path(name), DOCKERFILE)


@contextmanager
def start_in_cluster(mirror: str) -> Iterator[Place]:
    """The cluster, which has the image."""
    with TemporaryDirectory() as name:
        put_all_together(PROJECTS, mirror, Path(name))
        image = images.reference_folder("public", Path(name), DOCKERFILE)
    with in_cluster.start(image) as place:
        yield place


@contextmanager
def start_here(chosen: Sequence[PublicProject], mirror: str, keep: str) -> Iterator[Place]:
    """This machine, with some projects in a folder."""
    with ExitStack() as stack:
        root = Path(keep or stack.enter_context(TemporaryDirectory())).resolve()
        put_all_together(chosen, mirror, root)
        yield stack.enter_context(here.start(root))


def main() -> int:
    """Run the projects; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.public",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of projects; default: all")
    parser.add_argument("--here", action="store_true", help="without a cluster")
    parser.add_argument(
        "--mirror", default="", metavar="URL", help="in the place of https://github.com/"
    )
    parser.add_argument("--keep", default="", metavar="FOLDER", help="of --here: leave all in it")
    parser.add_argument(
        "--image", action="store_true", help="make the image that the cluster needs, and no more"
    )
    options = parser.parse_args()
    if options.image:
        print(load_image(options.mirror))
        return 0
    chosen = choose(options.names)
    start = (
        start_here(chosen, options.mirror, options.keep)
        if options.here
        else start_in_cluster(options.mirror)
    )
    with start as place:
        alike = [try_project(place, project) for project in chosen]
    return 0 if all(alike) else 1


if __name__ == "__main__":
    sys.exit(main())
