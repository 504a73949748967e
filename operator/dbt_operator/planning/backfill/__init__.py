"""The decisions about a DbtBackfill."""
