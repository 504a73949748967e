"""The steps of a run where dbt has no Python API: dbt 2, or a wrapper in another language.

This stands in for :mod:`dbt_runner.worker.zygote` and tells the supervisor the same messages, but
knows dbt by its command line and its artifacts only. So each step loads dbt and parses for itself,
in a process of its own; there is no events.jsonl; and of a failure that left no results only what
dbt printed is known. What differs between dbt 1 and dbt 2 is in
:mod:`dbt_runner.worker.command.engine`, and only dbt 2 tells of its nodes while they are at work.

What must hold all the same does. Environment validation asks ``dbt list`` for what a step selects,
and the manifest that this leaves for where it would be written, before any step runs; where it
cannot be done, nothing runs. And a step succeeds only with results that are proved to be its own:
in a folder that was empty before, stamped with this run's UID if dbt stamps at all, and not older
than the step.
"""
