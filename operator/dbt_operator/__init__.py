"""The control plane: watches DbtTarget, DbtProject and DbtRun, and starts a Job for each attempt of
a run.

Data flows one way: watch event -> handlers -> workqueue -> reconcile -> (store) -> planning ->
cluster.
"""
