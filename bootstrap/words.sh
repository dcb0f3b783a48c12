# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# What can be said before anything is installed.

# Prints the version that the project file names.
version_text() {
    sed -n 's/^version = "\(.*\)"/keystead \1/p' "$here/pyproject.toml"
}

help_text() {
    cat "$here/bootstrap/help.txt"
    cat <<TEXT

Nothing is installed in this checkout yet: the first command that needs it builds the environment.
\`./keystead setup --print\` tells every step, \`./keystead setup\` does them.
TEXT
}

setup_help() {
    cat <<TEXT
Usage: ./keystead setup [--print | --runtime | --tpm none] [--yes]

Builds the environment in .venv and stops; every other command does so when it needs it.

    --print     tell the steps, and do nothing
    --runtime   without the tools that only tests need
    --tpm none  without TPM libraries, so that no Debian package but Python is needed
    --yes       do not ask before Debian packages are installed
TEXT
}

test_help() {
    cat <<TEXT
Usage: ./keystead test [--all | --share SECONDS | --changed | --map | --slow | --sweeps |
                        --mutants | --again | --kills N | --breakage N | --against TREE |
                        ARGUMENTS OF PYTEST]

Linters, types, import contracts, and the tests that are neither slow nor sweeps. The run says at
the start about how long it takes, and names the ten slowest tests at the end.

    --all      the same with the slow tests among the others
    --share SECONDS
               the same with as many slow tests as take so long on one core, others for each
               commit, as continuous integration does
    --changed  tests that use what has changed since the last --map, and new ones
    --map      all tests, noting which functions and files each of them uses
    --slow     planted bugs, each of which must turn its test red, the whole truth table, and
               whatever else takes more than about a second of a core
    --sweeps   kills at every step, every file damaged in every way
    --kills N [--seed S] [--labs A,B]
               N rounds of kill -9 on real labs; all that was acknowledged is read back
    --mutants  one changed place at a time, in the files that decide or bind
    --breakage N [--seed S] [--tests] [--minutes M] [--keep]
               N one-line bugs, and who notices each of them: docs/breakage.md
    --against TREE [--schedules N]
               plays schedules, matrix and experiments with the code of another checkout too, and
               names what ended otherwise: for changes that must not change behaviour
    --again    what failed in the last run; what passes now is named as flaky

All else goes to pytest, which then runs one test after another in its own process:

    tests/services/esxi -k boot              these tests alone
    --workers auto tests/lab                 these, shared out to workers: one a core for tests
                                             that compute, three for those that wait for processes
    -x --lf                                  what failed last, up to the first failure
    -p no:randomly                           in the order of the files
TEXT
}

steps_as_text() {
    cat <<TEXT
What ./keystead does before it starts; each step is skipped when its result is there:
1. Finds Python >= 3.11: \$KEYSTEAD_PYTHON, else python3, python3.13, 3.12, 3.11, 3.14; of those
   on PATH the first that was built with PGO and LTO (as distributions do), else the first.
2. Looks for these Debian packages and asks once before it installs what is missing
   (as root, else by sudo):
     $tpm_libraries gcc pkg-config python3-dev python3-venv
   by this line:
     apt-get update && apt-get install -y --no-install-recommends PACKAGES
   \`up --tpm none\` needs only python3-venv. Elsewhere it only names the packages:
$elsewhere
3. Makes a private environment in .venv (.venv-3.X for a second Python; elsewhere with
   KEYSTEAD_VENV); pip puts uv into it. uv gets the index and the certificates that pip's
   configuration names (index-url, cert, or PIP_INDEX_URL, PIP_CERT, SSL_CERT_FILE).
4. Installs what requirements.lock pins, by hash; tpm2-pytss is compiled once and cached by uv:
     uv pip install --require-hashes -r requirements.lock
   \`test\` and \`setup\` add the tools that only tests need:
     uv pip install --require-hashes --no-deps -r requirements-dev.lock
     uv pip install --no-deps -e .
5. Writes the stamp .venv/keystead-stamp, so that later starts skip all of this.
Removing it again: delete this checkout (or its .venv* folders).
TEXT
}
