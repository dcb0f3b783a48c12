"""Commands that say what a name means, and what a file can have.

- ``explain``    one search over all of them        - ``knobs``   explain knob
- ``commands``   what each command does
- ``reference``  what an experiment's file can name - ``schema``  of answers and files
"""
