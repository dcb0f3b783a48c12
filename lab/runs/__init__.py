"""Stored runs, and runs in a lab that exists already.

- ``store``     folders of runs
- ``live``      a run in a lab that runs already    - ``changing``  its load meanwhile
- ``load_control`` the rate of a load that runs, changed from outside
"""
