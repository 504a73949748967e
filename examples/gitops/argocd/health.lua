-- The health of an object of any kind of dbt-operator.dev. The operator says it by conditions, so
-- nothing here knows of phases that may be added. docs/gitops.md says why a schedule is Healthy
-- whatever became of its last run, and also while it is suspended.

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

local function say(health, message)
  return {status = health, message = message or ""}
end

if status.observedGeneration ~= obj.metadata.generation or conditions.Ready == nil then
  return say("Progressing", "the operator has not looked at it yet")
end
if holds("Stalled") then
  return say("Degraded", conditions.Stalled.reason .. ": " .. (conditions.Stalled.message or ""))
end
if status.phase == "Suspended" then
  return say("Suspended", status.message)
end
local message = status.message or conditions.Ready.message
if not holds("Ready") then
  return say("Progressing", message)
end
local last = conditions.LastRunSucceeded
if last ~= nil and last.status == "False" then
  message = (message or "") .. "; the last run did not succeed: " .. (last.message or last.reason)
end
return say("Healthy", message)
