# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# 1: which Python, and where its environment lies.

# Prints X.Y of an interpreter that is new enough, else nothing.
version_of() {
    "$1" -c 'import sys
if sys.version_info >= (3, 11): print("%d.%d" % sys.version_info[:2])' 2>/dev/null || :
}

# Sets python and version, or leaves both empty.
find_python() {
    python='' version=''
    if [ -n "${KEYSTEAD_PYTHON:-}" ]; then
        python=$(command -v -- "$KEYSTEAD_PYTHON") && version=$(version_of "$python")
        [ -n "$version" ] || fail KS-SETUP-001 \
            "KEYSTEAD_PYTHON=$KEYSTEAD_PYTHON is no program, or no Python >= 3.11" \
            'give the path of a Python >= 3.11'
        return
    fi
    # An environment keeps its interpreter.
    if [ ! -e "$venv/keystead-unfinished" ] && [ -x "$venv/bin/python" ]; then
        python=$venv/bin/python version=$(version_of "$venv/bin/python")
        [ -z "$version" ] || return 0
    fi
    first='' first_version=''
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        IFS=:
        for folder in $PATH; do
            unset IFS
            python=$folder/$name
            [ -f "$python" ] && [ -x "$python" ] || continue
            version=$(version_of "$python")
            [ -n "$version" ] || continue
            ! is_optimized || ! has_venv || ! has_headers || return 0
            [ -n "$first" ] || first=$python first_version=$version
        done
        unset IFS
    done
    python=$first version=$first_version
}

# True for a build with profile-guided and link-time optimization, a tenth faster than others. Those
# of distributions are, though Debian's does not say so.
is_optimized() {
    "$python" -c 'import sys, sysconfig
flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
found = "--enable-optimizations" in flags and "--with-lto" in flags
sys.exit(not found and sys.base_prefix != "/usr")' 2>/dev/null
}

# The environment's folder: .venv, unless that one is of another version than KEYSTEAD_PYTHON.
choose_environment() {
    venv=$here/.venv built=
    if [ -n "${KEYSTEAD_VENV:-}" ]; then
        case $KEYSTEAD_VENV in /*) venv=$KEYSTEAD_VENV ;; *) venv=$PWD/$KEYSTEAD_VENV ;; esac
        return 0
    fi
    [ -n "${KEYSTEAD_PYTHON:-}" ] || return 0
    find_python
    [ ! -r "$venv/pyvenv.cfg" ] ||
        built=$(sed -n 's/^version *= *\([0-9]*\.[0-9]*\).*/\1/p' "$venv/pyvenv.cfg")
    [ -z "$built" ] || [ "$built" = "$version" ] || venv=$here/.venv-$version
}
