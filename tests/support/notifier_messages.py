"""Messages of all sorts, as the operator asks the notifier to send them."""

from __future__ import annotations

from dataclasses import replace

from dbt_notifier.messages import (
    About,
    Event,
    Exposure,
    FailedNode,
    Message,
    Nodes,
    Times,
    Windows,
)

RUN = About(
    kind="DbtRun",
    namespace="analytics",
    name="nightly-29341860",
    uid="5d0c0a6e-0001-4000-8000-000000000001",
    project="shop",
    target="prod",
    schedule="nightly",
    occurrence="2025-10-14T03:00:00Z",
)
MANUAL = replace(RUN, name="full-refresh", schedule="", occurrence="")
BACKFILL = replace(RUN, kind="DbtBackfill", name="events-2025", schedule="", occurrence="")
SCHEDULE = replace(RUN, kind="DbtSchedule", name="nightly")
_TIMES = Times(
    finished_at="2025-10-14T03:12:40Z",
    duration=760.0,
    median=1_140.0,
    last_success="2025-10-13T03:19:05Z",
    since="2025-10-14T03:12:40Z",
)
MEANINGS = {
    "ModelError": "A model, seed, snapshot or the query of a test ended in an error.",
    "TestFailed": "Tests failed.",
    "HookFailed": "An on-run-start or on-run-end hook failed.",
    "Timeout": "The time of the run was over.",
    "OOMKilled": "dbt used more memory than its limit, and was killed.",
    "Unavailable": "The warehouse could not be reached.",
    "ParseError": "dbt cannot parse the project.",
    "InvalidSpec": "The object does not say what the API asks for.",
}


def make_message(
    name: str, event: Event, about: About = RUN, reason: str = "", summary: str = ""
) -> Message:
    """A message with nothing but what each of them says."""
    kind = about.kind.lower()
    return Message(
        key=f"{name.replace('_', '-')}-8d1f4c2ab9",
        series=f"{about.uid}/data-team",
        event=event,
        about=about,
        summary=summary,
        command=f"kubectl -n {about.namespace} describe {kind} {about.name}",
        reason=reason,
        meaning=MEANINGS.get(reason, ""),
        attempts=1,
        times=_TIMES,
    )


MODEL_ERROR = replace(
    make_message(
        "model_error",
        Event.FAILED,
        reason="ModelError",
        summary="step 1-build: model.shop.orders has status error",
    ),
    artifacts="dbt/analytics/shop/prod/runs/nightly-29341860",
    nodes=Nodes(
        total=214,
        failed=1,
        skipped=12,
        failures=(
            FailedNode(
                unique_id="model.shop.orders",
                status="error",
                message=(
                    "Database Error in model orders (models/marts/orders.sql): column"
                    ' "discount" does not exist LINE 14: select o.discount'
                ),
                owners=("finance", "Ada Lovelace"),
                group="finance",
            ),
        ),
        exposures=(
            Exposure("Weekly revenue", "dashboard", "finance@example.com"),
            Exposure("churn_model", "ml", "Ada Lovelace"),
        ),
        affected_exposures=2,
    ),
)

MANY_FAILURES = replace(
    make_message(
        "many_failures",
        Event.FAILED,
        reason="ModelError",
        summary="step 2-build: model.warehouse.stg_events_000 has status error, and 339 more",
    ),
    about=replace(RUN, project="warehouse"),
    attempts=3,
    artifacts="dbt/analytics/warehouse/prod/runs/nightly-29341860",
    nodes=Nodes(
        total=5_213,
        failed=340,
        failed_tests=18,
        skipped=2_871,
        warned=64,
        failures=tuple(
            FailedNode(
                unique_id=f"model.warehouse.stg_events_of_a_source_with_a_long_name_{number:03}",
                status="error",
                message=(
                    "Runtime Error in model: 401 Client Error: the access token of the service"
                    f" account has expired, request {number:08x}"
                ),
                owners=(f"team-{number % 3}",),
                group="ingestion",
            )
            for number in range(20)
        ),
        warnings=tuple(
            FailedNode(
                unique_id=f"test.warehouse.not_null_{number}",
                status="warn",
                message="Got 3",
                rows=3,
            )
            for number in range(10)
        ),
        exposures=tuple(
            Exposure(f"Dashboard {number}", "dashboard", f"owner{number}@example.com")
            for number in range(10)
        ),
        affected_exposures=57,
    ),
)

FAILED_TESTS = replace(
    make_message(
        "failed_tests",
        Event.FAILED,
        reason="TestFailed",
        summary="step 1-build: test.shop.unique_orders_order_id.fed79b3a6e has status fail",
    ),
    nodes=Nodes(
        total=214,
        failed=2,
        failed_tests=2,
        skipped=3,
        failures=(
            FailedNode(
                unique_id="test.shop.unique_orders_order_id.fed79b3a6e",
                status="fail",
                message="Got 17 results, configured to fail if != 0",
                rows=17,
                stored_in='"prod"."dbt_test__audit"."unique_orders_order_id"',
                owners=("finance",),
            ),
            FailedNode(
                unique_id="test.shop.not_null_orders_customer_id.c5ff8d1f2b",
                status="fail",
                message="Got 1 result, configured to fail if != 0",
                rows=1,
                stored_in='"prod"."dbt_test__audit"."not_null_orders_customer_id"',
            ),
        ),
    ),
)

HOOK_FAILED = replace(
    make_message(
        "hook_failed",
        Event.FAILED,
        reason="HookFailed",
        summary="step 1-build: operation.shop.shop-on-run-end-0 has status error: permission denied"
        " for schema audit",
    ),
    nodes=Nodes(
        total=215,
        failed=1,
        failures=(
            FailedNode(
                unique_id="operation.shop.shop-on-run-end-0",
                status="error",
                message="Database Error: permission denied for schema audit",
            ),
        ),
    ),
)

TIMEOUT = replace(
    make_message(
        "timeout",
        Event.FAILED,
        reason="Timeout",
        summary="step 1-build: the run's timeout of 1h is over; 107 of 214 nodes had ended",
    ),
    nodes=Nodes(
        total=107,
        missing="the step was stopped before it had ended",
    ),
    times=replace(_TIMES, duration=3_600.0),
)

OOM_KILLED = replace(
    make_message(
        "oom_killed",
        Event.FAILED,
        MANUAL,
        reason="OOMKilled",
        summary="container dbt was killed: it used more than its limit of 2Gi; set"
        " spec.pod.resources.limits.memory",
    ),
    attempts=2,
    times=Times(finished_at="2025-10-14T03:12:40Z", duration=122.0),
)

UNAVAILABLE = replace(
    make_message(
        "unavailable",
        Event.FAILED,
        reason="Unavailable",
        summary='step 1-build: connection to server at "warehouse.example.com", port 5432 failed:'
        " Connection refused",
    ),
    attempts=4,
    times=replace(_TIMES, since="2025-10-11T03:02:10Z", last_success="2025-10-10T03:19:05Z"),
)

PARSE_ERROR = make_message(
    "parse_error",
    Event.FAILED,
    reason="ParseError",
    summary="Compilation Error: Model 'model.shop.orders' (models/marts/orders.sql) depends on a"
    " node named 'stg_ordersx' which was not found",
)

INVALID_SPEC = replace(
    make_message(
        "invalid_spec",
        Event.FAILED,
        MANUAL,
        reason="InvalidSpec",
        summary="spec.steps[1].command: must be one of build, run, test, seed, snapshot",
    ),
    attempts=0,
    times=Times(finished_at="2025-10-14T03:00:01Z"),
)

BACKFILL_FAILED = replace(
    make_message(
        "backfill_failed",
        Event.FAILED,
        BACKFILL,
        reason="ModelError",
        summary="3 of 365 windows failed: window 2025-02-14: model.shop.events has status error",
    ),
    windows=Windows(
        total=365, succeeded=362, failed=3, first_failed=("2025-02-14", "2025-02-15", "2025-07-01")
    ),
    times=Times(finished_at="2025-10-14T09:00:00Z", duration=21_540.0),
)

BURST = replace(
    UNAVAILABLE,
    key="burst-8d1f4c2ab9",
    others=tuple(
        replace(RUN, name=f"mart-{number}-29341860", schedule=f"mart-{number}")
        for number in range(9)
    ),
    other_count=41,
)

RECOVERED = replace(
    make_message("recovered", Event.RECOVERED, summary="2 of 2 steps succeeded"),
    nodes=Nodes(total=214),
    times=replace(_TIMES, duration=1_120.0, since="2025-10-11T03:02:10Z"),
)

WARNED = replace(
    make_message("warned", Event.WARNED, summary="2 of 2 steps succeeded"),
    nodes=Nodes(
        total=214,
        warned=1,
        warnings=(
            FailedNode(
                unique_id="test.shop.accepted_values_orders_status.1234abcd",
                status="warn",
                message="Got 4 results, configured to warn if != 0",
                rows=4,
                owners=("finance",),
            ),
        ),
    ),
)

LATE = replace(
    make_message(
        "late",
        Event.LATE,
        SCHEDULE,
        summary="The occurrence of 2025-10-14T03:00:00Z has not succeeded by 2025-10-14T06:00:00Z;"
        " run nightly-29341860 is Running",
    ),
    times=Times(last_success="2025-10-13T03:19:05Z", since="2025-10-14T06:00:00Z"),
    attempts=0,
)

MISSED = replace(
    make_message(
        "missed",
        Event.MISSED,
        SCHEDULE,
        summary="The occurrence was missed: the operator did not run at 2025-10-14T03:00:00Z, and"
        " startingDeadlineSeconds is over",
    ),
    times=Times(last_success="2025-10-13T03:19:05Z"),
    attempts=0,
)

SUCCEEDED = replace(
    make_message("succeeded", Event.SUCCEEDED, summary="2 of 2 steps succeeded"),
    nodes=Nodes(total=214),
    artifacts="dbt/analytics/shop/prod/runs/nightly-29341860",
    times=replace(_TIMES, duration=1_120.0, since=""),
)

TEST = replace(
    make_message("test", Event.TEST, replace(MANUAL, project="", target="")), times=Times()
)

# All that a project's texts could try.
EVILS = (
    "<!channel> @here @everyone <@U0EVERYONE> <!subteam^S0ALL>",
    "x\r\nBcc: victim@evil.example\r\n\r\n<html>hello</html>",
    "<script>alert(1)</script></span></li></ul><img src=x onerror=alert(1)>",
    "<a href='https://evil.example' style=\"width:9999px\">x</a>",
    "https://evil.example/x HTTP://evil.example",
    "www.evil.example WWW.EVIL.EXAMPLE mailto:a@evil.example MailTo:b@evil.example",
    "*bold* _it_ ~no~ `code` [link](https://evil.example) ![x](https://evil.example/x.png)",
    "<at>everyone</at> <https://evil.example|here> &amp; &lt;!here&gt; --> ]]> </body>",
    "\u202e\u2066rtl\u2069 zero\u200bwidth\u200d\ufeff \ud800 \udfff",
    "a\x00b\x07c\x1b[31md\x7fe\x85f\u2028g",
    "\u115f\u3164\u2800\ufe0f\U000e0041 {{ env_var('X') }} {{DATE()}} %s %n ${x}",
)
EVIL = " ".join(EVILS)
LONG = EVIL + "x" * 10_000


def _make_evil_node(number: int) -> FailedNode:
    first, second, third = (EVILS[(number + place) % len(EVILS)] for place in range(3))
    return FailedNode(
        unique_id=first + "n" * 10_000 * (number % 2),
        status=LONG,
        message=second + EVIL * 15 * (number % 2),
        rows=10**30,
        stored_in=third,
        owners=(third, *(f"{EVIL}{number}" for number in range(20)), "finance"),
        group=first,
    )


_EVIL_NODES = tuple(map(_make_evil_node, range(30)))
_EVIL_ABOUT = About(
    kind="DbtRun",
    namespace="n" * 63,
    name="r" * 63,
    uid="5d0c0a6e-0001-4000-8000-000000000666",
    project=EVIL,
    target=LONG,
    schedule=EVIL,
    occurrence=LONG,
)
HOSTILE = replace(
    make_message("hostile", Event.FAILED, _EVIL_ABOUT, reason="ModelError", summary=LONG),
    artifacts=LONG,
    nodes=Nodes(
        total=10**30,
        failed=340,
        failed_tests=1,
        skipped=1,
        warned=1,
        failures=_EVIL_NODES,
        warnings=_EVIL_NODES,
        exposures=tuple(Exposure(each, each, each) for each in (*EVILS, LONG)),
        affected_exposures=10**30,
        missing=LONG,
    ),
    windows=Windows(total=10**9, succeeded=1, failed=3, first_failed=(*EVILS, *(LONG,) * 100)),
    times=Times(LONG, 1e12, 1e12, LONG, LONG),
)
HOSTILE_BURST = replace(
    HOSTILE, key="hostile-burst-8d1f4c2ab9", others=(_EVIL_ABOUT,) * 30, other_count=10**9
)

MESSAGES = {
    "model_error": MODEL_ERROR,
    "many_failures": MANY_FAILURES,
    "failed_tests": FAILED_TESTS,
    "hook_failed": HOOK_FAILED,
    "timeout": TIMEOUT,
    "oom_killed": OOM_KILLED,
    "unavailable": UNAVAILABLE,
    "parse_error": PARSE_ERROR,
    "invalid_spec": INVALID_SPEC,
    "backfill_failed": BACKFILL_FAILED,
    "burst": BURST,
    "recovered": RECOVERED,
    "warned": WARNED,
    "late": LATE,
    "missed": MISSED,
    "succeeded": SUCCEEDED,
    "test": TEST,
    "hostile": HOSTILE,
    "hostile_burst": HOSTILE_BURST,
}
