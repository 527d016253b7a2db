# shellcheck shell=bash
# lib.sh - what the scripts in deploy/ share. Source it; it runs nothing.

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# as_root COMMAND... - directly as root, else through sudo
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: $* (run as root, or install sudo)"
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# missing_packages LIST... - those of deploy/packages/LIST not here yet
missing_packages() {
    local list package command
    for list in "$@"; do
        while read -r package command; do
            [[ -n $package && $package != '#'* ]] || continue
            [ -z "$command" ] || ! command -v "$command" >/dev/null || continue
            is_installed "$package" || echo "$package"
        done <"deploy/packages/$list"
    done
}

# install_packages LIST... - touches nothing when everything is there
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "not a Debian system; install the equivalent of: ${missing[*]}"
    say "installing ${missing[*]}"
    as_root apt-get update -q ||
        die "apt-get update failed: check the network and /etc/apt"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" ||
        die "could not install: ${missing[*]}"
}

# port_taken PORT - does somebody listen there on this host?
port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# jobs_count - how many compilers at once
jobs_count() { nproc 2>/dev/null || echo 1; }
