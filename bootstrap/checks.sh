# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# `./keystead test`.

# Every quick check runs, then the tests: one run tells all that is wrong.
quick_check() {
    say "$1"
    output=$(shift && "$@" 2>&1) || { printf '%s\n' "$output" >&2 && failed="$failed $1"; }
}

run_tests() {
    cd "$here" && python=$venv/bin/python failed=
    [ "$*" != --slow ] || exec "$python" -m pytest -n 2 --dist loadfile -m slow
    [ "$*" != --sweeps ] || exec "$python" -m pytest -n 2 -m sweep
    [ "${1:-}" != --mutants ] || { shift && exec "$python" -m tests.mutations.mutants "$@"; }
    [ $# = 0 ] || exec "$python" -m pytest "$@"
    quick_check ruff-check "$python" -m ruff check .
    quick_check ruff-format "$python" -m ruff format --check .
    quick_check mypy "$python" -m mypy
    quick_check import-contracts "$venv/bin/lint-imports" --no-cache
    say pytest
    "$python" -m pytest -n 3 --dist worksteal -m 'not slow and not sweep' || failed="$failed pytest"
    [ -z "$failed" ] || { say "failed:$failed" && exit 1; }
}
