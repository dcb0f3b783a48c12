"""Who may do what.

- ``authorization``  authorization
- ``rejections``     refusals that an administrator has set
"""
