//! Builds the shim if ipsec-mb's header is there (Debian: libipsec-mb-dev); without it the crate says that the library is absent.

use std::path::Path;

const HEADERS: [&str; 2] = [
    "/usr/include/intel-ipsec-mb.h",
    "/usr/local/include/intel-ipsec-mb.h",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ipsec_mb)");
    println!("cargo::rerun-if-changed=src/shim.c");
    for header in HEADERS {
        println!("cargo::rerun-if-changed={header}");
    }
    if !HEADERS.iter().any(|header| Path::new(header).exists()) {
        return;
    }
    cc::Build::new()
        .file("src/shim.c")
        .opt_level(3)
        .warnings(true)
        .extra_warnings(true)
        .compile("culvert_ipsec_mb_shim");
    println!("cargo::rustc-link-lib=dylib=IPSec_MB");
    println!("cargo::rustc-cfg=ipsec_mb");
}
