# Functions for the other scripts here: messages, and installing Debian packages.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
die() {
    printf '\nCI: %s\n' "$*" >&2
    exit 1
}

# Options for every apt command. `toolchain` adds to them if the machine's package sources lack
# the security archive.
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

# Runs a command. If it fails, runs it once more after 5 seconds.
twice() {
    "$@" && return 0
    say "failed, trying again: $*" >&2
    sleep 5
    "$@"
}

apt_updated=no
# Refreshes the package lists once per process. An unreachable source is not an error here: the
# package may come from another one.
apt_update() {
    [[ $apt_updated == no ]] || return 0
    command -v apt-get >/dev/null || die "this check needs Debian packages, but apt-get is missing"
    twice apt_get update >/dev/null ||
        say "could not refresh the package lists; using the present ones" >&2
    apt_updated=yes
}

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# Installs the named packages, except those that are installed already.
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

# use_rust DIRECTORY VERSION [PACKAGE...]: unpacks a toolchain, as .ci/toolchain does, and makes
# Cargo use it.
use_rust() {
    "$root/.ci/toolchain" "$@"
    export PATH=$1/usr/bin:$PATH
    export LD_LIBRARY_PATH=$1/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export RUSTC=$1/usr/bin/rustc RUSTDOC=$1/usr/bin/rustdoc
}

# use_rust_for TARGET: as use_rust, with a toolchain that builds the standard library from source.
# 1.96 is the first version that links for Windows.
use_rust_for() {
    use_rust "$CI_DIR/rust-windows" 1.96+ rust-web-src rust-web-clippy
    export RUSTC_BOOTSTRAP=1 CARGO_BUILD_TARGET=$1
    export CARGO_UNSTABLE_BUILD_STD=std,panic_unwind,test
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Where the scripts put what they download and unpack. git ignores target/.
CI_DIR=$root/target/ci
mkdir -p "$CI_DIR"
