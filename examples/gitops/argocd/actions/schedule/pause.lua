obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["dbt-operator.dev/paused-until"] = "forever"
return obj
