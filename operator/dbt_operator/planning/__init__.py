"""Pure decisions: (object, observed facts, now) -> Plan. Nothing here does I/O or looks at a
clock.
"""
