#!/usr/bin/env bash
# run.sh [STAGE...]   all checks in order of cost, or the named ones; each stage's output goes to target/test/STAGE.log.
# Ends with "N passed, N failed, N skipped" and exits non-zero if a stage failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0} RUST_BACKTRACE=1
logs=target/test; mkdir -p "$logs"
cargo fetch --locked --quiet
passed=0; failed=0; skipped=0; stages=("$@")

wanted() { [ ${#stages[@]} -eq 0 ] || [[ " ${stages[*]} " == *" $1 "* ]]; }
stage() { # stage NAME COMMAND...
  local name=$1 start=$SECONDS; shift
  wanted "$name" || return 0
  printf '%-10s ' "$name"
  if "$@" >"$logs/$name.log" 2>&1; then
    passed=$((passed + 1)); printf 'ok      %4d s  %s\n' $((SECONDS - start)) "$(summary "$logs/$name.log")"
  else
    failed=$((failed + 1)); printf 'FAILED  %4d s\n' $((SECONDS - start)); tail -n "${TAIL:-60}" "$logs/$name.log"
  fi
}
summary() { # how many tests a log reports, and what it says it left out
  awk '/^test result: ok\./{n+=$4} /^[0-9]+ passed, /{plain=$1} END{n+=plain; if(n) printf "%d tests", n}' "$1"
  grep -ohE '^SKIPPED: .*' "$1" | sort -u | sed 's/^/\n             /' || true
}
rooted() { # like stage, for what needs root
  local name=$1
  wanted "$name" || return 0
  if [ "$(id -u)" = 0 ]; then stage "$@"; else
    skipped=$((skipped + 1)); printf '%-10s SKIPPED: needs root (network namespaces, AF_XDP, BPF)\n' "$name"; fi
}

stage fmt    cargo fmt --all --check
stage clippy cargo clippy --workspace --all-targets --locked -- -D warnings
stage deny   cargo deny --offline check licenses bans sources
stage test   cargo test --workspace --locked --no-fail-fast
stage docs   env RUSTDOCFLAGS="-Dwarnings -Arustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --locked --keep-going
rooted xdp   ebpf/build.sh --check
stage build  cargo build --release --locked -p culvert -p culvert-bench
stage counts tests/instructions.sh
stage secret tests/secrets.sh
rooted demo  target/release/culvert-bench demo --clients 200 --seconds 2
rooted lab   tests/lab/run.sh

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
