"""Authorization: users have a role, a role has privileges, a task needs privileges.

- ``privileges``  the requirements of each task (privileges, and a valid VM) in one table; roles,
  and what the user of a task may do
- ``role_tasks``  vCenter's handlers and tasks for roles, and for who has them
"""
