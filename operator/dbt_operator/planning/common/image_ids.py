"""Compares what container runtimes say of the image that a container has.

Each says it in its own words: `docker.io/library/x@sha256:...`, `docker-pullable://x@sha256:...`,
or, for an image that came without a digest of a registry, the bare `sha256:...` of its config.
"""

from __future__ import annotations

import re

_DIGEST = re.compile(r"(@?)(sha256:[0-9a-f]{64})$")


def is_pinned(image: str) -> bool:
    """Whether an image is named by a digest, so that it is the same wherever it comes from."""
    found = _DIGEST.search(image)
    return found is not None and bool(found[1])


def are_different(one: str, other: str) -> bool:
    """Whether two imageIDs are of different images for certain.

    The digest alone counts, since a mirror serves the same image under another name. That of a
    manifest and that of a config are digests of different things, and tell nothing of each other.
    """
    if one == other:
        return False
    known, found = _DIGEST.search(one), _DIGEST.search(other)
    if known is None or found is None:
        return True
    return known[1] == found[1] and known[2] != found[2]
