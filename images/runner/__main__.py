"""Where Python starts in the archive `runner.pyz`; the start that zipapp would write forgets the
exit code.
"""

from dbt_runner.__main__ import main

raise SystemExit(main())
