from __future__ import annotations

import pytest

from dbt_operator.planning.attempt.quotas import explain_quota

NUMBERS = "requested: cpu=1,pods=1, used: cpu=8,pods=5, limited: cpu=8,pods=5"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            f'pods "x" is forbidden: exceeded quota: team.a, {NUMBERS}',
            f"the ResourceQuota team.a is used up ({NUMBERS})",
        ),
        ("exceeded quota: team", "the ResourceQuota team is used up"),
        (
            'pods "x" is forbidden: status unknown for quota: team, resources: pods',
            "nobody has counted yet how much of the ResourceQuota team is used",
        ),
        # These are about the pod itself, or about the cluster's settings.
        ('pods "x" is forbidden: failed quota: team: must specify limits.cpu for: dbt', ""),
        ('pods "x" is forbidden: insufficient quota to consume: pods', ""),
        ('pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2', ""),
        ("exceeded quota: ", ""),
        ("exceeded quota", ""),
        ("", ""),
    ],
)
def test_a_quota_is_told_by_its_name(refusal: str, words: str) -> None:
    assert explain_quota(refusal) == words
