"""The life of a server's database.

- ``opening``          all of it is checked at a start
- ``anchor``           how far the server has come, kept outside of the database
- ``rotation``         a new KEK, or another root
- ``trail_retention``  old rows of the audit trail are removed
"""
