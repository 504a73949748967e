"""``python -m dbt_operator``: the operator as a process.

kopf's event loop watches; worker threads reconcile, since the kubernetes client blocks; one thread lists everything
anew from time to time, for what watches miss.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import kopf
import structlog

from dbt_operator import handlers
from dbt_operator.api.kinds import KINDS
from dbt_operator.cluster import Cluster, ClusterError
from dbt_operator.reconcile import Key, Reconciler
from dbt_operator.settings import Settings, SettingsError
from dbt_operator.store import Store
from dbt_operator.workqueue import WorkQueue

log = structlog.get_logger()


class Operator:
    """The parts, put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster = Cluster()
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue()
        self._reconciler = Reconciler(self._cluster, self.store, settings.runner_image, wake=self.queue.add)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._settings.workers):
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True).start()
        threading.Thread(target=self._resync, name="resync", daemon=True).start()

    def stop(self) -> None:
        """Let them end."""
        self._stopped.set()
        self.queue.close()

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            try:
                again = self._reconciler.reconcile(key)
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            except ClusterError as error:
                log.warning("will be tried again", **vars(key), seconds=self.queue.retry(key), error=str(error))
            except Exception:
                # One object must not stop the others, whatever is wrong with it.
                log.exception("will be tried again", **vars(key), seconds=self.queue.retry(key))
            finally:
                self.queue.done(key)

    def _resync(self) -> None:
        while not self._stopped.wait(self._settings.resync_seconds):
            for kind in ("Job", "Pod", *(kind.kind for kind in KINDS)):
                for namespace in self._settings.namespaces or (None,):
                    self._list(kind, namespace)

    def _list(self, kind: str, namespace: str | None) -> None:
        try:
            listed, version = self._cluster.list_all(kind, namespace)
        except ClusterError as error:
            log.warning("cannot list", kind=kind, namespace=namespace, error=str(error))
            return
        gone = self.store.replace(kind, listed, version, namespace)
        for manifest in [*listed, *gone]:
            if kind in ("Job", "Pod"):
                keys = handlers.keys_of_part(manifest, self.store)
            else:
                keys = handlers.concerned(kind, manifest, self.store, deleted=manifest in gone)
            for key in keys:
                self.queue.add(key)


def build(operator: Operator) -> kopf.OperatorRegistry:
    """Kopf's registry with our handlers."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.startup(registry=registry)
    def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        handlers.configure(settings)
        operator.start()

    @kopf.on.cleanup(registry=registry)
    def cleanup(**_: Any) -> None:
        operator.stop()

    handlers.register(registry, operator.store, operator.queue)
    return registry


def configure_logging(settings: Settings) -> None:
    """One JSON object a line, or colours for a terminal; kopf and the client speak up only when something is wrong."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    renderer = structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )


def main() -> None:
    """Run until SIGTERM."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        sys.exit(f"dbt-operator: {error}")
    configure_logging(settings)
    log.info("starting", namespaces=settings.namespaces or "all", runner_image=settings.runner_image)
    kopf.run(
        registry=build(Operator(settings)),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        standalone=True,
        # By default kopf looks for the name of the user, and in a container the user has none.
        identity="dbt-operator",  # type: ignore[arg-type]
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )


if __name__ == "__main__":
    main()
