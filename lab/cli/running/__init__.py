"""Commands that start and end a lab, and those of one that runs whose terminal flow is their own.

- ``labs``          up, down, status, list, version
- ``journal``       events, logs
- ``lab_files``     ``lab ...``
- ``agents``        join it, health
- ``serving``       a lab for other programs
- ``waiting``       ``wait``
- ``trying``        try: the story, guided
- ``with_secrets``  commands whose secrets a terminal prompts for
- ``doctor``        commands about this machine
"""
