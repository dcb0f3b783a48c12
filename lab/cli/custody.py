"""``kms rotate-kek``, ``kms set-root``: what seals a key server's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.keys import CUSTODY, KMS
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import show_one
from lab.schema.commands import KmsRotateKek, KmsSetRoot
from protocol.terms import RootKind

COLUMNS = (*KMS[:3], *CUSTODY)


def rotate_kek(kms: str, *, options: Options = DEFAULTS) -> None:
    """Make another KEK, durable when this returns; keys come under it one after another.

    keystead kms rotate-kek kms
    keystead kms rotate-kek kms -o json
    """
    show_one(call(options, KmsRotateKek(kms)), options.output, COLUMNS, key="kms")


def set_root(
    kms: str,
    *,
    root: Annotated[RootKind, Parameter(help="keyfile, passphrase or tpm.")],
    passphrase_file: Annotated[
        Path | None, Parameter(help="A file whose first line is the passphrase.")
    ] = None,
    options: Options = DEFAULTS,
) -> None:
    """Have the key ring sealed by another root; the keys themselves are not touched.

    keystead kms set-root kms --root tpm
    keystead kms set-root kms --root passphrase --passphrase-file secret.txt
    """
    file = "" if passphrase_file is None else str(passphrase_file.absolute())
    answer = call(options, KmsSetRoot(kms, root, file))
    show_one(answer, options.output, COLUMNS, key="kms")
