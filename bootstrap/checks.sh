# shellcheck shell=sh disable=SC2154  # a part of ./keystead, which reads it
# `./keystead test`.

run_tests() {
    cd "$here" && exec "$venv/bin/python" -m tests.runner "$@"
}
