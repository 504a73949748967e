"""``python -m dbt_notifier``."""

from dbt_notifier.process import main

main()
