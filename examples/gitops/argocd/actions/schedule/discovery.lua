local annotations = obj.metadata.annotations or {}
local status = obj.status or {}

local is_stalled = false
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    is_stalled = true
  end
end

-- The last run that failed; the newest entry comes first.
local failed = nil
for _, entry in ipairs(status.history or {}) do
  if failed == nil and entry.phase == "Failed" then
    failed = entry.run
  end
end

local paused_until = annotations["dbt-operator.dev/paused-until"]
local is_retried = failed ~= nil and annotations["dbt-operator.dev/retry"] == failed

return {
  ["run-now"] = {
    displayName = "Run now", iconClass = "fa fa-fw fa-play", disabled = is_stalled,
  },
  ["pause"] = {
    displayName = "Pause", iconClass = "fa fa-fw fa-pause",
    disabled = paused_until == "forever",
  },
  ["resume"] = {
    displayName = "Resume", iconClass = "fa fa-fw fa-forward", disabled = paused_until == nil,
  },
  ["retry"] = {
    displayName = "Retry the last failed run", iconClass = "fa fa-fw fa-redo",
    disabled = is_stalled or failed == nil or is_retried,
  },
}
