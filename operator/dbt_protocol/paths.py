"""Where things are in a pod, and what its containers are called."""

from __future__ import annotations

# Where things are in the pod. The shared volume is an emptyDir that all three containers mount.
SHARED = "/dbt-operator"
RUNNER = f"{SHARED}/runner.pyz"  # the zipapp of this package, put there by the init container
PROJECT = f"{SHARED}/project"  # the checked out project, unless it is part of the dbt image
WORK = f"{SHARED}/work"  # WORK/<step> is dbt's target and log path while the step runs ...
# ... and is renamed to ARTIFACTS/<step> once it has ended: what is here is complete
ARTIFACTS = f"{SHARED}/artifacts"
# With windows these are WORK/<key>/<step> and, once the window is over, ARTIFACTS/<key>/<step>;
# until then the steps that have ended wait in WORK/<key>/ENDED.
ENDED = ".ended"
RUN = f"{SHARED}/run"  # what belongs beside the attempts in the bucket: the merged results
PREVIOUS = f"{SHARED}/previous"  # the merged results of the attempts before, for one that continues
# the artifacts that `state:`, `result:` and --defer compare with: one path in all attempts
STATE = f"{SHARED}/state"
NEW_STATE = f"{SHARED}/new-state"  # what this run leaves for later ones to compare with
CACHE = f"{SHARED}/cache"  # the restored parse cache
NEW_CACHE = f"{SHARED}/new-cache"  # the one to be stored
PROFILES = "/dbt-operator-profiles"  # the target's Secret, in the dbt container only
SOURCE = "/dbt-operator-source"  # the project's ConfigMap, in the init container only
# the pod's annotations as files, in the dbt container of runs over windows only
ORDERS = "/dbt-operator-orders"
STOP = f"{ORDERS}/stop"  # not empty: begin no further window
# the Secret with the credentials of the project's repository, in the init container only
GIT = "/dbt-operator-git"
# the certificates of who has signed the object store's, in the two containers that speak with it
BUCKET = "/dbt-operator-bucket"
BUCKET_CA = f"{BUCKET}/ca.crt"
DEPS = "deps"  # the folder, among those of the steps, for the logs of `dbt deps`
# Last part of the key of a state that does not exist: the run whose folder it is in has built
# something else since.
OVERWRITTEN = "overwritten"
TERMINATION_LOG = "/dev/termination-log"

# Container names, known to both sides.
PREPARE_CONTAINER = "prepare"
DBT_CONTAINER = "dbt"
ARTIFACTS_CONTAINER = "artifacts"
