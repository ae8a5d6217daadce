#!/bin/sh
# as-root.sh COMMAND...   runs COMMAND as root, by sudo if needed: namespaces, AF_XDP and BPF want it.
if [ "$(id -u)" = 0 ]; then exec "$@"; fi
command -v sudo >/dev/null || { echo "This needs root (network namespaces, AF_XDP, BPF): run it as root or install sudo." >&2; exit 2; }
exec sudo --preserve-env=REPORT "$@"
