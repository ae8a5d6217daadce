#!/usr/bin/env bash
# run.sh [SCENARIO...]   real clients against culvert (CULVERT, default target/release/culvert); all scenarios by default.
# Each configuration serves the scenarios named behind it; ends with "N passed, N failed".
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd); top=$(cd "$here/../.." && pwd)
export LAB_STATE=${LAB_STATE:-/var/tmp/vpn-lab}
culvert=$(readlink -f "${CULVERT:-$top/target/release/culvert}")
[ -x "$culvert" ] || { echo "build culvert first: cargo build --release -p culvert" >&2; exit 2; }
[ -x "$LAB_STATE/uml/usr/bin/linux.uml" ] && [ "$LAB_STATE/umlshim.so" -nt "$here/umlshim.c" ] || "$here/lab.sh" build
conf=$LAB_STATE/conf; rm -rf "$conf"; install -d -m 700 "$conf"

declare -A scenarios=(
  [default]="direct-ss-gcm direct-ss-cbcsha1 direct-ss-cbcsha256 nat-ss-gcm userspace-l2tp auth-wrong-password wrong-psk plain-refused"
  [nic]="direct-ss-gcm"
  [clear]="plain-l2tp")
passed=0; failed=0
for variant in default nic clear; do
  install -d -m 700 "$conf/$variant"
  install -m 600 "$here/users" "$conf/$variant/users"
  sed "s/^#$variant //" "$here/culvert.toml" >"$conf/$variant/culvert.toml"; chmod 600 "$conf/$variant/culvert.toml"
  for name in ${scenarios[$variant]}; do
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    echo "# $variant"
    if "$here/lab.sh" ext "$culvert run -c $conf/$variant/culvert.toml" "^$name\$"; then passed=$((passed + 1)); else
      failed=$((failed + 1)); tail -n 40 "$LAB_STATE/run/ext-$name/ext.log" || true; fi
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
