"""``python -m dbt_operator``."""

from dbt_operator.process.assembly import main

if __name__ == "__main__":
    main()
