#!/usr/bin/env bash
# Builds the XDP object that is committed beside this script, byte for byte the same from every folder.
#
#   ebpf/build.sh           builds and writes ebpf/culvert-xdp.o and ebpf/culvert-xdp.toolchain
#   ebpf/build.sh --check   builds and compares with both; 1 and what differs if they are not the same
#
# Run as root on Debian 12 it first installs what is missing: rustc-web with its BPF core library, LLVM 22, bpf-linker.
# On other systems without them --check says that it was skipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
object=$here/culvert-xdp.o
record=$here/culvert-xdp.toolchain
rustc=/usr/bin/rustc
llvm=/usr/lib/llvm-22
linker_version=0.13.0
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export PATH=$cargo_home/bin:$PATH
# Not the workspace's own: another compiler and other flags would throw out each other's work.
target=${CARGO_TARGET_DIR:-$root/target}/bpf

die() {
    echo "build.sh: $*" >&2
    exit 1
}

is_debian_12() {
    grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release
}

# Other systems offer no rustc with a BPF core library; they use the object as it is committed.
no_toolchain() {
    [[ $mode == check ]] || die "missing $*: only Debian 12 offers them"
    echo "SKIPPED: whether the committed XDP object is what the sources give: needs $* of Debian 12"
    exit 0
}

install_missing() {
    local packages=()
    [[ -d /usr/lib/rustlib/bpfel-unknown-none ]] || packages+=(rustc-web libstd-rust-web-dev-bpf)
    [[ -x $llvm/bin/llvm-objcopy && -d $llvm/include ]] || packages+=(llvm-22-dev)
    if ((${#packages[@]})); then
        is_debian_12 || no_toolchain "${packages[@]}"
        ((EUID == 0)) || die "missing ${packages[*]}: install them, or run this as root on Debian 12"
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"
    fi
    if ! bpf-linker --version 2>/dev/null | grep -qxF "bpf-linker $linker_version"; then
        LLVM_PREFIX=$llvm cargo install "bpf-linker@$linker_version" --locked --no-default-features --features llvm-22
    fi
}

toolchain() {
    "$rustc" --version
    bpf-linker --version
    "$llvm/bin/llvm-objcopy" --version | grep -m1 -o 'LLVM version.*'
    local crate
    for crate in aya-ebpf aya-ebpf-bindings aya-ebpf-macros; do
        echo "$crate $(grep -A1 -xF "name = \"$crate\"" "$root/Cargo.lock" | sed -n 's/^version = "\(.*\)"/\1/p')"
    done
}

build() {
    # Packet bytes stand at any place: kernels of x86-64 and arm64 let programs read words there, and one load replaces four.
    local flags=(
        '--cfg=bpf_target_arch="x86_64"'
        -Cdebuginfo=2
        -Clink-arg=--btf
        -Ctarget-feature=+allows-misaligned-mem-access
        "--remap-path-prefix=$root=/culvert"
    )
    local registry
    for registry in "$cargo_home"/registry/src/*; do
        flags+=("--remap-path-prefix=$registry=/registry")
    done
    local encoded
    encoded=$(IFS=$'\x1f' && echo "${flags[*]}")
    # The workspace's release profile is for user space: overflow checks would bring panics along, and the linker does the LTO.
    (
        cd "$root"
        env RUSTC="$rustc" RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER= CARGO_ENCODED_RUSTFLAGS="$encoded" CARGO_INCREMENTAL=0 \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_DEBUG=2 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=false CARGO_PROFILE_RELEASE_PANIC=abort \
            cargo build --locked --release --package culvert-ebpf --bin culvert-xdp --features bpf \
            --target bpfel-unknown-none --target-dir "$target"
    )
    # Line numbers go too, or every comment would change the object; the BTF of the maps and functions stays.
    "$llvm/bin/llvm-objcopy" --strip-debug --remove-section=.BTF.ext --remove-section=.rel.BTF.ext \
        "$target/bpfel-unknown-none/release/culvert-xdp" "$target/culvert-xdp.o"
}

check() {
    if ! diff -u "$record" <(toolchain) --label "committed toolchain" --label "this toolchain" >&2; then
        echo "build.sh: the committed object was built with another toolchain, for which alone its bytes may differ" >&2
    fi
    if ! cmp "$object" "$target/culvert-xdp.o" >&2; then
        diff -u <(sections "$object") <(sections "$target/culvert-xdp.o") --label committed --label built >&2 || true
        die "the committed object is not what the sources give: run ebpf/build.sh and commit what it writes"
    fi
    echo "culvert-xdp.o is what the sources give ($(stat -c %s "$object") bytes)"
}

# Name and hash of each section, and the code of both programs.
sections() {
    local name hash
    "$llvm/bin/llvm-readelf" --sections --wide "$1" | sed -n 's/^ *\[ *[0-9]*\] \([^ ]\+\) .*/\1/p' | while read -r name; do
        hash=$("$llvm/bin/llvm-objcopy" --dump-section "$name=/dev/stdout" "$1" /dev/null 2>/dev/null | sha256sum)
        echo "$name ${hash%% *}"
    done
    "$llvm/bin/llvm-objdump" --disassemble --no-show-raw-insn "$1" | tail -n +3
}

case "$*" in
    "") mode=write ;;
    --check) mode=check ;;
    *) die "usage: ebpf/build.sh [--check]" ;;
esac
install_missing
build
if [[ $mode == check ]]; then
    check
else
    cp "$target/culvert-xdp.o" "$object"
    toolchain >"$record"
    echo "wrote $object ($(stat -c %s "$object") bytes) and $record"
fi
