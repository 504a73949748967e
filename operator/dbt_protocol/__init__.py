"""What operator and pod say to each other: Python 3.9, the standard library only, and no imports
here.

dbt imports every top-level module whose name begins with ``dbt_`` that it finds: this one must cost
nothing.
"""
