"""Changes of keys in the database.

- ``store``         rows of keys, their tags and their SQL
- ``unit_of_work``  what one message changes, written at its end
- ``group_commit``  messages that arrive together share a transaction
- ``new_keys``      of these the plain Creates
- ``key_cache``     rows of keys in memory, for reads
- ``due_dates``     states that a date has changed
"""
