//! Compiles the shims, which make the libraries' inline functions callable from Rust.

fn main() {
    let shims = [
        ("gstreamer", "gstreamer-1.0"),
        ("ffmpeg", "libavutil"),
        ("dpdk", "libdpdk"),
    ];
    for (shim, package) in shims {
        let library = pkg_config::Config::new()
            .probe(package)
            .unwrap_or_else(|error| panic!("a package that README.md names is missing: {error}"));
        let source = format!("shims/{shim}.c");
        println!("cargo::rerun-if-changed={source}");
        let mut build = cc::Build::new();
        build.file(&source).opt_level(3).warnings(true);
        build.includes(&library.include_paths);
        if shim == "dpdk" {
            // Options of the library's pkg-config file that the crate pkg-config drops.
            build
                .flag("-include")
                .flag("rte_config.h")
                .flag("-march=corei7");
        }
        build.compile(&format!("shim_{shim}"));
    }
}
