from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Tls, tls
from tests.support.git_repositories import Repository, Server, make_repository, serve


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repositories" / "shop")


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


@pytest.fixture(scope="module")
def certificates() -> Tls:
    return tls("127.0.0.1")


@pytest.fixture
def server(repository: Repository, certificates: Tls, tmp_path: Path) -> Iterator[Server]:
    with serve(repository.path.parent, certificates, tmp_path) as found:
        yield found
