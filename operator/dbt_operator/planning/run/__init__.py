"""The decisions about a DbtRun."""
