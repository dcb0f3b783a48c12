"""What people ask of keystead, what it answers, and what can be wrong: structs only.

A command is a frozen struct, its answer another one. Everything that runs a lab imports this, and
it imports no asyncio, no broker's client and no TPM.

- ``commands``          what can be asked
- ``answers``           what is answered
- ``wire``              how both travel
- ``tables``            how an answer looks as a table
- ``errors``            errors for people, with ids; ``explanations`` of the subjects below
- ``refusal``           an error of chaos as an error for people
- ``explained_errors``  errors of shared datastores, brokers, loads and machines that join, in the
  form of ``lab.schema.errors``
"""
