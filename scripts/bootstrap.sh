#!/usr/bin/env bash
# Puts in place what building Posthorn needs, and nothing else: a C compiler (for ring and mimalloc), make, and a Rust
# toolchain at least as new as `rust-version` in Cargo.toml; and the tools that are named as arguments (`valgrind`). Does nothing
# when all of it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bootstrap: %s\n' "$*" >&2; }

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
for tool in "$@"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done

if ((${#missing[@]})); then
    if ! command -v apt-get >/dev/null; then
        say "missing: ${missing[*]} (Debian's names). Install them with this system's package manager and run again."
        exit 1
    fi
    root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null || { say "missing: ${missing[*]}; neither root nor sudo here."; exit 1; }
        root=(sudo)
    fi
    say "installing ${missing[*]} with apt-get"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# rustup puts cargo here; a shell that was open before does not know it yet.
if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
    say "cargo is in $HOME/.cargo/bin, which is not in PATH; add it: . \"\$HOME/.cargo/env\""
    exit 1
fi

want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null; then
    say "no cargo. Install Rust $want or newer from https://rustup.rs, then run again."
    exit 1
fi
have=$(cargo --version | awk '{print $2}')
if [[ $(printf '%s\n%s\n' "$want" "${have%%-*}" | sort -V | head -n 1) != "$want" ]]; then
    say "cargo is $have; Posthorn needs $want or newer. Run: rustup update stable"
    exit 1
fi
for part in fmt clippy; do
    cargo "$part" --version >/dev/null 2>&1 && continue
    say "cargo $part is missing (make test uses it). Run: rustup component add rustfmt clippy"
done
