"""What runtimes say of images."""

from __future__ import annotations

import pytest

from dbt_operator.planning.common.image_ids import are_different, is_pinned

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (f"docker.io/library/dbt@{ONE}", f"docker.io/library/dbt@{ONE}", False),
        (f"docker.io/library/dbt@{ONE}", f"mirror.example.com:5000/dbt@{ONE}", False),
        (f"docker.io/library/dbt@{ONE}", f"docker-pullable://dbt@{ONE}", False),
        (f"docker.io/library/dbt@{ONE}", f"docker.io/library/dbt@{TWO}", True),
        (f"docker-pullable://dbt@{ONE}", f"docker.io/library/dbt@{TWO}", True),
        # The digest of a config, where the runtime knows none of a manifest.
        (ONE, ONE, False),
        (ONE, f"docker://{ONE}", False),
        (ONE, TWO, True),
        (f"docker://{ONE}", TWO, True),
        (f"docker.io/library/dbt@{ONE}", TWO, False),
        (TWO, f"docker-pullable://dbt@{ONE}", False),
        # What is no digest.
        ("sha256:abc", "sha256:abc", False),
        ("sha256:abc", "sha256:abd", True),
        ("sha256:abc", ONE, True),
    ],
)
def test_images_are_compared_by_their_digests(first: str, second: str, expected: bool) -> None:
    assert are_different(first, second) is expected
    assert are_different(second, first) is expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"registry.example.com/dbt@{ONE}", True),
        (f"registry.example.com/dbt:1.4.0@{ONE}", True),
        ("registry.example.com/dbt:1.4.0", False),
        ("registry.example.com/dbt@sha256:abc", False),
    ],
)
def test_an_image_is_pinned_by_a_digest(image: str, expected: bool) -> None:
    assert is_pinned(image) is expected
