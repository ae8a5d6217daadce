#!/usr/bin/env bash
# install.sh GROUP...   installs what is missing of the named groups, on Debian 12 or Ubuntu 24.04; nothing when all is there.
#   build  compiler for the C parts of libxdp        demo  namespaces and devices
#   test   licence check, captures, valgrind         lab   real clients in guests
#   bench  libraries that are measured against ours
set -euo pipefail
packages=()
want() { for p in "$@"; do dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || packages+=("$p"); done; }
for group in "$@"; do
  case $group in
    build) want make gcc libc6-dev clang m4 libelf-dev zlib1g-dev libpcap-dev pkg-config
           dpkg-query -W 'libclang-*-dev' 2>/dev/null | grep -q . || want libclang-dev;;
    demo)  want iproute2 ethtool;;
    test)  want iproute2 ethtool tcpdump valgrind binutils;;
    bench) want libipsec-mb-dev;;
    lab)   want cpio nftables tcpdump iperf3 ethtool gcc python3 openssl;;
    *) echo "install.sh: unknown group $group" >&2; exit 2;;
  esac
done
if [ ${#packages[@]} -gt 0 ]; then
  echo "Installing: ${packages[*]}"
  root=; [ "$(id -u)" = 0 ] || root=sudo
  $root apt-get update -q >/dev/null
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null
fi
if ! command -v cargo >/dev/null; then echo "Rust is missing: install rustup, then run this again." >&2; exit 2; fi
case " $* " in *" test "*) command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny;; esac
