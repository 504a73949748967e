local is_over = obj.spec.cancel == true
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Finished" and condition.status == "True" then
    is_over = true
  end
end
return {
  ["cancel"] = {displayName = "Cancel", iconClass = "fa fa-fw fa-stop", disabled = is_over},
}
