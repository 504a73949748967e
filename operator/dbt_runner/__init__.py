"""What runs inside the pods of a DbtRun: prepare the source, run dbt, upload artifacts.

Only the standard library, except in :mod:`dbt_runner.upload.uploader` (minio) and in the child that
imports dbt itself. Nothing here imports :mod:`dbt_operator`; the two meet in
:mod:`dbt_protocol.summaries`.
"""
