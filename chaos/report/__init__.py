"""The report of a run, from its records alone: figures, then geometry, then one file.

- ``story``        a run as its folder tells it, and how its seed's schedule is named
- ``bands``        the faults of a history as intervals, and rows in which none covers another
- ``phases``       before, fault, heal, after: where a moment of the run lies
- ``availability``  how much of each phase every VM ran, and why one did not
- ``headline``     the run in one sentence: how many VMs went down, for how long and why
- ``latency``      operations from their invoke to their end, by phase, in HDR histograms
- ``lanes``        what each host and VM was, beside what the rules let it be
- ``outcomes``     checks and hypotheses as rows, with the scene of a failure
- ``junit``        the same as JUnit XML, for pipelines
- ``github``       the same as annotations of GitHub's log
- ``axis``         seconds as pixels, and round moments   - ``shapes``  what a picture is made of
- ``select``       which lanes of a large lab are drawn, and which hosts are one
- ``timeline``, ``plots``, ``topology``   the pictures: places of shapes, by arithmetic alone
- ``work``         how busy nodes with service times were, summed up and drawn
- ``compare``      two runs beside each other           - ``differences``  the same in sentences
- ``page``         one HTML file of it all: ``templates`` has its text, style and small script
- ``matrix_page``, ``matrix_junit``   the same for a run of the matrix; ``blocks`` draws its blocks
- ``filling``      the template engine: what is put in is escaped
"""
