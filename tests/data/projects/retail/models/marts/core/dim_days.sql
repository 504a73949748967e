{{ tools.list_days(var('days_from'), var('days_until')) }}
