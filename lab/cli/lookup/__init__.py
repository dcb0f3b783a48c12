"""Commands that say what a name means, and what a file can have.

- ``explain``    errors, rules                      - ``knobs``   explain knob
- ``reference``  what an experiment's file can name - ``schema``  of answers and files
"""
