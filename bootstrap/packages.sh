# shellcheck shell=sh disable=SC2034,SC2154  # a part of ./keystead, which reads it
# 2: packages of the system, installed with consent only.

tpm_libraries='libtpms0 libtss2-dev libc6-dev'
elsewhere='  Fedora: dnf install libtpms tpm2-tss-devel gcc glibc-devel python3-devel pkgconf
  Arch:   pacman -S --needed libtpms tpm2-tss gcc glibc python pkgconf'

on_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1")" = installed ]; }

# True if the interpreter comes from the distribution, so that its packages can complete it.
from_distribution() { [ "$("$python" -c 'import sys; print(sys.base_prefix)')" = /usr ]; }

# Debian's name of a part (dev, venv) of this interpreter.
python_package() {
    if [ -z "$version" ] || [ "$version" = "$(version_of /usr/bin/python3)" ]; then
        echo "python3-$1"
    else
        echo "python$version-$1"
    fi
}

has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# Headers are looked for by doing: a Python beside Debian's own has no package to ask for.
has_headers() {
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

has_libtpms() { ldconfig -p | grep -q 'libtpms\.so\.0'; }

# need PACKAGE TEST...: adds PACKAGE to missing unless the test succeeds.
need() {
    part=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $part"
}

# Sets missing to the Debian packages, or elsewhere the parts, that the wanted parts need.
find_missing() {
    missing=
    if on_debian; then
        need python3 [ -n "$version" ]
        need "$(python_package venv)" has_venv
        [ "$want" = full ] || return 0
        for package in $tpm_libraries; do need "$package" installed "$package"; done
        # A compiler from elsewhere is as good, and needs the C library's headers all the same.
        need gcc command -v gcc
        need pkg-config command -v pkg-config
        need "$(python_package dev)" has_headers
    else
        need 'Python >= 3.11' [ -n "$version" ]
        need venv has_venv
        [ "$want" = full ] || return 0
        need libtpms has_libtpms
        need tss2 pkg-config --exists tss2-esys tss2-fapi
        need cc command -v cc
        need Python.h has_headers
    fi
}

# Asks once, unless told not to; without a terminal it does not guess.
agreed() {
    [ "$yes" = 0 ] || return 0
    [ -t 0 ] || fail KS-SETUP-005 'there is no terminal to ask on' "add --yes, or run: $line"
    printf 'keystead: install them now? [Y/n] ' >&2
    read -r answer || answer=n
    case $answer in '' | [Yy]*) return 0 ;; *) return 1 ;; esac
}

# A stale list of one source must not stop what the others can give: the install tells.
apt_install() {
    $as_root apt-get update || :
    # shellcheck disable=SC2086  # $missing is a list of package names
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

system_packages() {
    find_missing
    [ -n "$missing" ] || return 0
    without=''
    [ "$want" != full ] || without=', or start without TPMs: ./keystead up --tpm none'
    on_debian || fail KS-SETUP-002 "missing:$missing; this is no Debian, nothing is installed" \
        "install the packages yourself$without
$elsewhere"
    if [ -n "$version" ] && ! from_distribution; then
        # No package can give a part to a Python that was built by hand.
        other='choose another: KEYSTEAD_PYTHON=/usr/bin/python3'
        has_venv || fail KS-SETUP-001 "$python has no venv and ensurepip modules" "$other"
        [ "$want" != full ] || has_headers ||
            fail KS-SETUP-001 "$python has no Python.h" "$other$without"
    fi
    line="apt-get install -y --no-install-recommends$missing"
    as_root=
    if [ "$(id -u)" = 0 ]; then
        line="apt-get update && $line"
    else
        command -v sudo >/dev/null || fail KS-SETUP-003 \
            "packages are missing, and there is neither root nor sudo:$missing" \
            "as root: apt-get update && $line$without"
        as_root=sudo line="sudo apt-get update && sudo $line"
    fi
    say "Debian packages that are missing:$missing"
    say "they are installed by: $line"
    agreed || fail KS-SETUP-004 "not installed:$missing" "run the line yourself$without"
    if [ -n "$as_root" ]; then
        # The password is asked for here, in the open; a script gets an error instead of a prompt.
        if [ -t 0 ]; then sudo -v; else as_root='sudo -n'; fi
    fi
    step KS-SETUP-006 "Debian packages (${missing# })" apt_install
    [ -n "$version" ] || find_python
    [ -n "$version" ] || fail KS-SETUP-001 "no Python 3.11 or newer: this system's is too old" \
        'install one and name it: KEYSTEAD_PYTHON=PATH ./keystead ...'
}
