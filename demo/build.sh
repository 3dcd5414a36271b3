# Builds Evenkeel from a bare machine. Sourced after localstack/lib.sh, not run.
# shellcheck shell=bash

# A compiler is all that Rust's crates here need from the system.
need_compilers() {
    command -v cargo >/dev/null || die "cargo is missing. Install Rust, then run this again:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
    command -v git >/dev/null && command -v cc >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "git and a C compiler are needed; on Debian: apt-get install git build-essential"
    fi
    step "packages: git, build-essential" install_compilers
}

install_compilers() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git build-essential
}

# build DIRECTORY [optimised]: the program as DIRECTORY/evenkeel. With a test beside it, it is built from the same
# dependencies as the tests are: nothing is compiled twice. Where its own speed counts, its own code is optimised.
build() {
    local options=(--features e2e --test aws_contract) root began=$EPOCHREALTIME
    # shellcheck disable=SC2154 # set by localstack/lib.sh
    root=$(dirname "$here")
    if [ "${2:-}" = optimised ]; then
        options+=(--config profile.dev.package.evenkeel.opt-level=2)
    fi
    [ -t 2 ] || options+=(--quiet)
    echo "  evenkeel (the first build takes some minutes)"
    (cd "$root" && cargo build --locked "${options[@]}" --bin evenkeel)
    # A copy, so that a later build does not take the program away from under a running controller.
    mkdir -p "$1"
    install "${CARGO_TARGET_DIR:-$root/target}/debug/evenkeel" "$1/evenkeel.new"
    mv "$1/evenkeel.new" "$1/evenkeel"
    printf '  %-52s%6.1f s\n' "evenkeel built" "$(seconds_since "$began")"
}
