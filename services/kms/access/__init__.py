"""Who may do what.

- ``authorization``  the role and the scope of a caller against one request; pure
- ``identities``     the clients of KMIP, as stored
- ``rejections``     refusals that an administrator has set
"""
