"""Decisions about a DbtSchedule."""
