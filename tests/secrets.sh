#!/usr/bin/env bash
# secrets.sh   no branch and no address in packet crypto depends on keys or plaintexts: memcheck takes those for undefined, and reports where
# something is decided by them. The one such decision is whether a packet verified; tests/secrets.allow has the lines where that is made.
# Covers the engines that valgrind has instructions for: portable and AES-NI, with AVX2.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${CARGO_TARGET_DIR:-target}/release/examples/secrets
valgrind=$(command -v valgrind) || { echo "SKIPPED: secrets: valgrind is not installed"; exit 0; }
cargo build --release --locked --quiet -p culvert-crypto --example secrets
log=$(mktemp); trap 'rm -f "$log"' EXIT
"$valgrind" --tool=memcheck --leak-check=no --error-limit=no --num-callers=12 --fullpath-after= --log-file="$log" "$program"
grep -q 'ERROR SUMMARY' "$log" || { cat "$log"; exit 1; }

# The innermost frame of each report: the function, and its source line if that is known.
mapfile -t places < <(awk '
  { sub(/^==[0-9]+== /, "") }
  /^[A-Z]/ { is_report = /^(Conditional jump|Use of uninit|Invalid|Syscall param|Jump to)/ }
  is_report && /^   at / { sub(/^   at 0x[0-9A-F]+: /, ""); print; is_report = 0 }' "$log" | sort -u)
[ ${#places[@]} -gt 0 ] || { echo "Not even the verdicts were reported: the marks do not work here."; exit 1; }
passed=0; failed=0
for place in "${places[@]}"; do
  at=${place##*\(}; at=${at%\)}
  text=$(sed -n "${at##*:}p" "${at%:*}" 2>/dev/null | sed 's/^ *//') || text=
  if [ -n "$text" ] && grep -qxF -- "$text" tests/secrets.allow; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1)); echo "decided by a secret: ${place%% (*} $at: $text"
    grep -F -B2 -A8 -m1 -- "$place" "$log" | cut -c1-200
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
