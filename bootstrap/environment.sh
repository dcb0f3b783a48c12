# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# 3 to 5: the environment of Python, with what requirements.lock pins.

# Prints the lock's entries of the named package only (keep), or of all others (drop).
lock_entries() {
    awk -v how="$1" -v name="$2" '
        /^[A-Za-z0-9]/ { split($0, part, "=="); hit = (part[1] == name) }
        (how == "keep") == (hit + 0)' "$lock"
}

# Packages that were stopped in the middle of being written look installed, and are not whole: an
# environment with the mark of unfinished work is made from nothing.
make_environment() {
    if [ -e "$venv/keystead-unfinished" ] ||
        ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        step KS-SETUP-007 "environment ${venv#"$here/"} (Python $version)" \
            "$python" -m venv --clear "$venv"
    fi
    true >"$venv/keystead-unfinished" ||
        fail KS-SETUP-011 "$venv/keystead-unfinished cannot be written" 'make room, start again'
}

# Prints what pip's configuration files say of a setting, of `install` or of all commands. It is
# read from the list: `pip config get` does not find what the list has (seen with pip 25.1).
of_pip() {
    for section in install global; do
        pattern="^$section\\.$1=['\"]\\(.*\\)['\"]\$"
        value=$(printf '%s\n' "$pip_settings" | sed -n "s|$pattern|\\1|p")
        [ -z "$value" ] || break
    done
    printf '%s' "$value"
}

# uv reads no pip configuration: an index and the certificates set for pip are passed on, and an
# older pip, which knows its own certificates only, gets those that are set for all programs.
pass_pip_settings_on() {
    pip_settings=$("$venv/bin/python" -m pip config list 2>/dev/null || :)
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=${PIP_INDEX_URL:-$(of_pip index-url)}
        [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
    fi
    certificates=${PIP_CERT:-$(of_pip cert)}
    if [ -n "$certificates" ]; then
        export SSL_CERT_FILE="$certificates"
    elif [ -n "${SSL_CERT_FILE:-}" ]; then
        export PIP_CERT="$SSL_CERT_FILE"
    elif [ -r /etc/ssl/certs/ca-certificates.crt ] || [ -r /etc/pki/tls/certs/ca-bundle.crt ]; then
        export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" # those that this machine trusts
    fi
}

install_uv() {
    wanted=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' "$lock")
    case $("$venv/bin/uv" --version 2>&1 || :) in "uv $wanted" | "uv $wanted "*) return ;; esac
    lock_entries keep uv >"$scratch/uv.txt"
    step KS-SETUP-008 "uv $wanted" "$venv/bin/python" -m pip install \
        --disable-pip-version-check --require-hashes --no-deps -r "$scratch/uv.txt"
}

uv_install() { # with bytecode: where Python may write none, each start would compile it again
    "$venv/bin/uv" pip install --compile-bytecode --python "$venv/bin/python" --no-progress "$@"
}

install_packages() {
    what='packages of requirements.lock' wanted=$lock
    if [ "$want" = full ]; then
        ls -d "$venv"/lib/*/site-packages/tpm2_pytss >/dev/null 2>&1 ||
            what="$what (tpm2-pytss is compiled once, a minute or two)"
    else
        what="$what (without tpm2-pytss)" wanted=$scratch/without-tpm.txt
        lock_entries drop tpm2-pytss >"$wanted"
    fi
    step KS-SETUP-009 "$what" uv_install --require-hashes --build-constraints "$lock" -r "$wanted"
    [ -z "$tools" ] || step KS-SETUP-009 'packages of requirements-dev.lock, for tests' \
        uv_install --require-hashes --no-deps -r "$dev_lock"
    step KS-SETUP-010 'keystead in this environment' \
        uv_install --no-deps --no-build-isolation --reinstall-package keystead -e "$here"
    # Without bytecode, as in a checkout that cannot be written, each start is a little slower.
    [ ! -w "$here/lab" ] || step KS-SETUP-010 'bytecode of this checkout' \
        "$venv/bin/python" -m compileall -q \
        "$here/protocol" "$here/services" "$here/chaos" "$here/lab" "$here/clients"
}

# Who asked for no TPM, nor for none, gets what the packages that are there allow, and no question.
settle_for_what_is_there() {
    [ "$want" = any ] || return 0
    want=full
    find_missing
    case $missing in '' | *-venv) return 0 ;; esac
    want=notpm
    say "packages for TPMs are missing and left out here; ./keystead setup adds them"
}

# Stops early where nothing can be written, and names what moves the folder.
# `true`, not `:`: dash ends without a word at a redirection of a special builtin that fails.
check_folders() {
    if ! {
        mkdir -p "${venv%/*}" && true >>"$venv-lock" && { [ ! -e "$venv" ] || [ -w "$venv" ]; }
    } 2>/dev/null; then
        fail KS-SETUP-011 "${venv%/*} cannot be written, and the environment is built there" \
            "build it elsewhere: KEYSTEAD_VENV=FOLDER ./keystead ..."
    fi
    scratch=$(mktemp -d 2>/dev/null) || fail KS-SETUP-011 \
        "${TMPDIR:-/tmp} cannot be written, and the set-up needs a temporary folder" \
        "another one: TMPDIR=FOLDER ./keystead ..."
    cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/uv}
    if ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
        say "$cache cannot be written: uv keeps nothing for the next time (UV_CACHE_DIR moves it)"
        export UV_CACHE_DIR="$scratch/uv-cache"
    fi
}

set_up() {
    check_folders
    trap leave EXIT
    if command -v flock >/dev/null; then
        exec 9>"$venv-lock"
        flock -n 9 || { say 'another start builds the environment; waiting for it' && flock 9; }
        if is_complete; then
            leave
            trap - EXIT
            exec 9>&-
            return 0
        fi
    fi
    started=$(date +%s)
    exec 8>&2
    trap interrupted INT TERM HUP
    # An environment that has the tools of tests keeps them up to date.
    case ${stamp_holds:-} in *+dev) tools=dev ;; esac
    rm -f "$venv/keystead-stamp"
    [ -n "${version:-}" ] || find_python
    settle_for_what_is_there
    system_packages
    make_environment
    pass_pip_settings_on
    install_uv
    install_packages
    rm -f "$venv/keystead-unfinished"
    printf '%s%s %s\n' "$want" "${tools:++dev}" "$sum" >"$venv/keystead-stamp"
    say "environment ready after $(($(date +%s) - started)) s"
    leave
    trap - EXIT INT TERM HUP
    exec 8>&- 9>&-
}
