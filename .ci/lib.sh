# Sourced by the other scripts here: messages, and packages from Debian.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
die() {
    printf '\nCI: %s\n' "$*" >&2
    exit 1
}

# Options for every apt command; `toolchain` adds to them where the machine's
# own package sources lack the security archive.
apt_options=(
    -q -y
    -o APT::Sandbox::User=root
    -o Acquire::Retries=3
    -o DPkg::Lock::Timeout=120
)
apt_get() { DEBIAN_FRONTEND=noninteractive as_root apt-get "${apt_options[@]}" "$@"; }
apt_cache() { apt-cache "${apt_options[@]:2}" "$@"; }

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    else
        sudo --preserve-env=DEBIAN_FRONTEND "$@"
    fi
}

# Runs a command, and once more, after a moment, if it fails.
twice() {
    "$@" && return 0
    say "failed, trying once more: $*" >&2
    sleep 5
    "$@"
}

apt_updated=no
# Refreshes the package lists, once in a process. A source that cannot be
# reached is no failure yet: the package may come from another.
apt_update() {
    [[ $apt_updated == no ]] || return 0
    command -v apt-get >/dev/null || die "this check needs Debian's packages, and there is no apt-get"
    twice apt_get update >/dev/null || say "the package lists could not be refreshed; going on with those at hand" >&2
    apt_updated=yes
}

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# Installs those of the named packages that are missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing: ${missing[*]}"
    apt_update
    twice apt_get install --no-install-recommends "${missing[@]}" >"$CI_DIR/apt.log" 2>&1 || {
        tail -n 20 "$CI_DIR/apt.log" >&2
        die "could not install: ${missing[*]}"
    }
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# What the scripts fetch and unpack: within target/, so that git ignores it.
CI_DIR=$root/target/ci
mkdir -p "$CI_DIR"
