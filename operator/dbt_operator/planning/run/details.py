"""What is said in status of the nodes that failed or warned, of who owns them and what depends on
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbt_operator.api.kinds.run import Exposure, NodeFailure, RunDetails
from dbt_protocol.digests import Digest, DigestNode
from dbt_protocol.summaries import Failure

_SHOWN = 10


def list_failures(told: Sequence[Failure], digest: Digest | None) -> list[NodeFailure]:
    """The nodes that did not end well, with all that is known of them.

    Args:
        told: what the termination message says, causes first, then what was skipped because of
            them.
        digest: what the sidecar says; None: it says nothing.
    """
    failed = [_describe(node) for node in digest.failed] if digest else []
    known = {node.unique_id for node in failed}
    others = [
        NodeFailure(unique_id=each.unique_id, status=each.status, message=each.message or None)
        for each in told
        if each.unique_id not in known
    ]
    known |= {each.unique_id for each in told}
    skipped = [
        NodeFailure(unique_id=name, status="skipped")
        for name in (digest.skipped if digest else ())
        if name not in known
    ]
    return [*failed, *others, *skipped]


def describe_digest(digest: Digest | None) -> RunDetails | None:
    """What is kept of a digest in status."""
    if digest is None:
        return None
    exposures = [
        Exposure(name=each.name, type=each.type or None, owner=each.owner or None)
        for each in digest.exposures[:_SHOWN]
    ]
    return RunDetails(
        failed=digest.failed_total,
        failed_marks=digest.marks or None,
        skipped=digest.skipped_total,
        warned=digest.warned_total,
        warnings=[_describe(node) for node in digest.warned[:_SHOWN]] or None,
        exposures=exposures or None,
        affected_exposures=digest.exposures_total,
        missing=digest.missing or None,
    )


def _describe(node: DigestNode) -> NodeFailure:
    return NodeFailure(
        unique_id=node.unique_id,
        status=node.status,
        message=node.message or None,
        rows=node.rows if node.rows >= 0 else None,
        stored_in=node.stored_in or None,
        owners=node.owners or None,
        group=node.group or None,
    )
