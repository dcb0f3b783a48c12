"""keystead: a laboratory for vSphere key persistence.

``keystead`` is a program; this package lets Python code use it. It needs nothing but the standard
library.

- ``_launcher``  starts the program
- ``__main__``   ``python -m keystead``
"""
