#!/usr/bin/env bash
# instructions.sh [--update]   instructions per packet on the packet path, counted by callgrind, against tests/instructions.toml.
# Fails when a count is more than 2 % above the file's, or more than 5 % below it, so that the file follows; --update writes it anew.
# Fails too when an atomic read-modify-write, a system call or a clock read is executed for each packet.
# The counts hold for one compiler and for what valgrind shows of the processor; on others the stage is skipped, loudly.
set -euo pipefail
cd "$(dirname "$0")/.."
file=tests/instructions.toml
program=${CARGO_TARGET_DIR:-target}/release/examples/instructions
valgrind=$(command -v valgrind) || { echo "SKIPPED: instructions: valgrind is not installed"; exit 0; }
cargo build --release --locked --quiet -p culvert-dataplane --example instructions

# An empty environment, so that stack and heap lie at the same addresses always; and the C library's memory functions for plain SSE2,
# whatever the processor has beyond it.
tunables=glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-AVX512F,-AVX512VL,-EVEX
plain() { env -i GLIBC_TUNABLES=$tunables "$@"; }
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
counted() { # counted ENGINE DIRECTION SUITE BYTES: prints instructions per packet
  plain "$valgrind" --tool=callgrind --collect-atstart=no --toggle-collect='*measured_turn*' --dump-instr=yes --dump-line=no \
    --compress-pos=no --compress-strings=no --callgrind-out-file="$scratch/profile" "$program" "$@" \
    >"$scratch/packets" 2>"$scratch/log" || { cat "$scratch/log" >&2; return 1; }
  none_per_packet "$*" || return 1
  awk 'NR == FNR { packets = $1; next } /Collected :/ { printf "%.2f\n", $4 / packets }' "$scratch/packets" "$scratch/log"
}
# Atomic read-modify-writes, system calls and clock reads: some in a turn (the in-memory ports' locks, a fence of the order queue), none of
# them for each packet. What was executed comes from the profile, what the instructions are from a disassembler.
none_per_packet() {
  awk '/^ob=/ { object = substr($0, 4) } /^calls=/ { getline; next } /^0x/ { print object, $1, $2 }' "$scratch/profile" >"$scratch/executed"
  awk '{ print $1 }' "$scratch/executed" | sort -u | while read -r object; do
    [ -e "$scratch/special${object//\//_}" ] || objdump -d --no-show-raw-insn "$object" | awk -v object="$object" '
      /^ *[0-9a-f]+:\t/ { text = $0; sub(/^[^\t]*\t/, "", text); sub(":", "", $1) }
      text ~ /^lock / || text ~ /^xchg .*\(/ || text ~ /^(syscall|sysenter|rdtscp?|int)( |$)/ { print object, "0x" $1, text; text = "" }
    ' >"$scratch/special${object//\//_}"
  done
  awk -v what="$1" -v packets="$(cat "$scratch/packets")" '
    FILENAME ~ /executed$/ { times[$1 " " $2] += $3; next }
    times[$1 " " $2] * 2 > packets { print what ": " times[$1 " " $2] " times in " packets " packets: " $0 > "/dev/stderr"; failed++ }
    END { exit failed > 0 }' "$scratch/executed" "$scratch"/special*
}

compiler=$(rustc --version)
seen=$(plain "$valgrind" --tool=none --log-file=/dev/null "$program")
processor=$(awk '$2 == "true" { printf "%s%s", gap, $1; gap = " " }' <<<"$seen")
if [ "${1:-}" != --update ]; then
  for what in compiler processor; do
    wanted=$(awk -F'"' -v what="$what" '$1 == what " = " { print $2 }' "$file")
    [ "$wanted" = "${!what}" ] || { echo "SKIPPED: instructions: $what is \"${!what}\", the counts are for \"$wanted\""; exit 0; }
  done
fi

counts=$scratch/counts
for engine in portable aesni; do
  grep -qx "engine $engine" <<<"$seen" || continue
  for direction in up down; do for suite in gcm cbc; do for bytes in 64 1420; do
    count=$(counted "$engine" "$direction" "$suite" "$bytes")
    echo "\"$engine $direction $suite $bytes\" = $count" >>"$counts"
  done; done; done
done

if [ "${1:-}" = --update ]; then
  {
    echo "# Instructions per packet: engine, direction, suite (AES-GCM-128, AES-256-CBC with HMAC-SHA1-96), bytes of the inner IP packet."
    echo "# Held by tests/instructions.sh within +2 % and -5 %; written by tests/instructions.sh --update. Say in the commit why they changed."
    echo "compiler = \"$compiler\""
    echo "processor = \"$processor\""
    echo; echo "[instructions]"; cat "$counts"
  } >"$file"
  cat "$file"; exit 0
fi

awk -F' = ' '
  /^"/ && NR == FNR { wanted[$1] = $2; next }
  NR == FNR { next }
  !($1 in wanted) { printf "%s: %s, not in the file\n", $1, $2; failed++; next }
  {
    change = ($2 / wanted[$1] - 1) * 100; seen[$1]
    printf "%-26s %10.2f  %+6.2f %%\n", $1, $2, change
    if (change > 2) { printf "  more than 2 %% above %s\n", wanted[$1]; failed++ }
    if (change < -5) { printf "  more than 5 %% below %s: a gain to keep\n", wanted[$1]; failed++ }
    if (change <= 2 && change >= -5) passed++
  }
  END {
    for (name in wanted) if (!(name in seen)) { printf "%s was not counted\n", name; failed++ }
    if (failed) print "If this is meant: tests/instructions.sh --update, and say why in the commit."
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }' "$file" "$counts"
