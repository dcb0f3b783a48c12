"""Changes of keys in the database.

- ``store``         keys in the database
- ``unit_of_work``  what one message changes, written at its end
- ``group_commit``  group commit
- ``key_cache``     rows of keys in memory, for reads
"""
