"""What a whole run of the tests has reached: by execution, in every process, not by its name.

A test that mentions a command proves nothing of it. While tests run, each Python process they start
notes what the product did there: commands carried out, errors made, events told, faults injected,
checks judged. At the end of a whole run these notes are compared with the product's registries, and
the run fails with the names of what nobody reached.

- ``site``        ``sitecustomize``: loaded by every Python process of a run; notes what is reached
- ``registries``  what there is to reach, and what cannot be reached by tests, with the reason
- ``plugin``      pytest's side: hands the notes to processes, compares at the end
"""
