"""Stored runs, and runs in a lab that exists already.

- ``store``         folders of runs
- ``live``          a run in a lab that runs already
- ``load_control``  how a load that runs is changed
"""
