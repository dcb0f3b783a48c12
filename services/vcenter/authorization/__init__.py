"""Authorization: users have a role, a role has privileges, a task needs privileges.

- ``roles``   built-in roles, custom roles, and the privileges of a user
- ``needs``   the table of the privileges that each task needs
- ``tasks``   tasks on roles and permissions; ``handlers`` serves them
"""
