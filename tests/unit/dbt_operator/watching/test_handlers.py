from __future__ import annotations

import kopf

from dbt_operator.api.registry import KINDS
from dbt_operator.cluster.store import Store
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.watching import handlers


def test_the_framework_watches_without_finalizers_or_patches() -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, Store(), WorkQueue())
    assert len(registry._watching.get_all_handlers()) == len(KINDS) + 2
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()


def test_lists_of_jobs_and_pods_are_filtered_by_the_server() -> None:
    settings = kopf.OperatorSettings()
    handlers.configure(settings)
    assert settings.posting.enabled is False
    assert len(list(settings.watching.label_selectors.items())) == 2
