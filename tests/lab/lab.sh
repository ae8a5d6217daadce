#!/bin/bash
# lab.sh build            client root + UML kernel (once)
# lab.sh list             scenario names
# lab.sh run NAME...      scenarios (regular expressions), JSON line each; exit 1 if one fails
# lab.sh ext 'CMD' NAME.. the same scenarios against CMD, started in the server netns (198.51.100.10; LAN 10.99.0.1/24)
# lab.sh clean            end what a killed run left (its own pids and netns only)
set -e; cd "$(dirname "$(readlink -f "$0")")"; export LAB_STATE=${LAB_STATE:-/var/tmp/vpn-lab}; mkdir -p "$LAB_STATE"; S=$LAB_STATE
case ${1:-} in
 build) [ $S/umlshim.so -nt umlshim.c ] || gcc -O2 -shared -fPIC -o $S/umlshim.so umlshim.c; ./build-root.sh; sh mkcerts.sh $S/certs;;
 list) python3 scenario.py list;;
 run) shift; exec python3 scenario.py "$@";;
 ext) c=$2; shift 2; exec python3 scenario.py --ext "$c" "$@";;
 clean) for f in $S/run/*/started; do [ -f "$f" ] || continue   # what a killed run left: only the pids and netns it noted itself
          while read -r k v; do case $k in pid) grep -qa "$S\|netns" /proc/$v/cmdline 2>/dev/null && kill -9 -- -$v 2>/dev/null;; netns) ip netns del $v 2>/dev/null;; esac; done <"$f"; mv "$f" "${f%started}ended"; done; true;;
 *) sed -n 2,7p "$0";;
esac
