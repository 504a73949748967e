"""Process 1 of the dbt container."""
