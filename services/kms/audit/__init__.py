"""The audit trail.

- ``audit_trail``     rows and their hash chain
- ``trail_cuts``      where a trail was cut
- ``refusal_counts``  refusals that are counted instead of written one by one
- ``row_buffer``      rows of messages that only read, until they are written
"""
