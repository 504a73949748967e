for _, entry in ipairs((obj.status or {}).history or {}) do
  if entry.phase == "Failed" and entry.run ~= nil then
    obj.metadata.annotations = obj.metadata.annotations or {}
    obj.metadata.annotations["dbt-operator.dev/retry"] = entry.run
    return obj
  end
end
error("no run of this schedule has failed")
