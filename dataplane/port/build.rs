//! Compiles the XDP program. The crate embeds the object, so no compiler is needed where it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCE: &str = "bpf/sekisho.bpf.c";
/// Included by it.
const INCLUDED: [&str; 2] = ["bpf/walk.h", "bpf/icmp.h"];
const PACKAGES: &str = "clang libelf-dev zlib1g-dev linux-libc-dev";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    for header in INCLUDED {
        println!("cargo:rerun-if-changed={header}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CLANG");

    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-Werror"]);
    // Debian keeps <asm/types.h> under the architecture's name.
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let include = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&include).is_dir() {
        command.arg(format!("-I{include}"));
    }
    command.args(["-c", SOURCE, "-o"]);
    command.arg(out.join("sekisho.bpf.o"));

    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!(
            "{clang} could not compile {SOURCE} ({status}); its messages are above. If a header \
             is missing, or clang knows no target bpf, install the Debian packages"
        )),
        Err(error) => fail(&format!(
            "cannot run {clang} ({error}), which compiles the XDP program {SOURCE}; set CLANG \
             to its path or install the Debian packages"
        )),
    }
}

fn fail(reason: &str) -> ! {
    eprintln!("error: {reason}\n\n    apt-get install --yes {PACKAGES}\n");
    exit(1)
}
