"""`make demo`: the example shop, built by a DbtRun on the local cluster, and what came of it."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support import product
from tests.support.kube import Manifest, get, items, kubectl, wait_for

NAMESPACE, RUN = "shop", "shop-build"
MART = "select * from analytics_marts.daily_revenue_by_category order by 1 desc limit 5"
SHOWN = (
    "manifest.json",
    "run_results.json",
    "sources.json",
    "catalog.json",
    "dbt.log",
    "events.jsonl",
    "result.json",
)
_begin = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _begin:4.0f} s] {text}", flush=True)


def start() -> None:
    """Apply the examples; a run cannot be changed, so one of before is deleted first."""
    kubectl(
        "delete", "dbtrun", RUN, "--ignore-not-found", "--wait", namespace=NAMESPACE, check=False
    )
    for name in ("shop.yaml", "shop-build.yaml"):
        say(f"kubectl apply -f examples/{name}")
        product.apply_example(product.EXAMPLES / name, product.references())


def follow() -> Manifest:
    """Show dbt's log while it runs."""
    pod = wait_for(
        "the run's pod",
        lambda: items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={RUN}"),
    )[0]
    name = pod["metadata"]["name"]
    wait_for("dbt runs", lambda: _phase() not in ("", "Pending") or None)
    say(f"kubectl logs -f {name} -c dbt")
    subprocess.run(["kubectl", "logs", "-f", name, "-c", "dbt", "-n", NAMESPACE], check=False)
    return product.wait_until_finished(RUN, NAMESPACE)


def _phase() -> str:
    return str(get("dbtrun", RUN, NAMESPACE).get("status", {}).get("phase", ""))


def show(run: Manifest) -> None:
    """The status, the rows and the artifacts."""
    say("kubectl get dbt")
    print(kubectl("get", "dbt", namespace=NAMESPACE))
    status = run["status"]
    print(
        "\n".join(f"  {c['type']:18} {c['status']:6} {c['message']}" for c in status["conditions"])
    )
    say("the last days of the mart daily_revenue_by_category, from PostgreSQL")
    print(product.psql(MART))
    location = status["resolved"]["location"]
    say(f"artifacts in MinIO, in {product.BUCKET}/{location}")
    names = [name.removeprefix(location) for name in product.object_names(location)]
    for name in names:
        if name.rpartition("/")[2] in SHOWN:
            print(f"  {name}")
    print(f"  and {sum(name.rpartition('/')[2] not in SHOWN for name in names)} more")


def main() -> None:
    """The demo."""
    say("PostgreSQL and MinIO")
    product.install_services(product.references())
    say("helm upgrade --install dbt-operator charts/dbt-operator")
    product.install_chart(product.references())
    start()
    run = follow()
    show(run)
    if run["status"]["phase"] != "Succeeded":
        sys.exit(f"the run ended {run['status']['phase']}: {run['status'].get('message')}")
    say(
        "done. Look around with make exec CMD='kubectl get dbt -A'; remove everything with make "
        "demo-down"
    )


if __name__ == "__main__":
    main()
