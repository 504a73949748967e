local annotations = obj.metadata.annotations or {}
annotations["dbt-operator.dev/paused-until"] = nil
-- To Argo CD an empty table is a list, and it then takes the annotations of before.
if next(annotations) == nil then
  annotations = nil
end
obj.metadata.annotations = annotations
return obj
