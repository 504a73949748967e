-- Each new value is one run.
local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dbt-operator.dev/run-now"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
