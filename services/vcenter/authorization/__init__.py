"""Who may do what: users have a role, a role has privileges, a task needs some.

- ``roles``   roles that vCenter comes with, roles of its own, and what a user may do
- ``needs``   the one table of which task needs which privileges
- ``tasks``   tasks on roles and on who has them, ``handlers`` serves them
"""
