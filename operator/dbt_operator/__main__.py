"""``python -m dbt_operator``."""

import sys

from dbt_operator.process.assembly import main

if __name__ == "__main__":
    main(argv=sys.orig_argv)
