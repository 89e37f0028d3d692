//! libFuzzer over the target that `TREERING_FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use treering_store::fuzzing::Target;

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("TREERING_FUZZ_TARGET").unwrap_or_default();
    let names = || treering_fuzz::targets().map(|target| target.name).collect::<Vec<_>>().join(" ");
    let target = treering_fuzz::targets().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("set TREERING_FUZZ_TARGET to one of: {}", names()))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    // What is refused is worth keeping too: it may have got far.
    (CHOSEN.get_or_init(chosen).run)(bytes);
    libfuzzer_sys::Corpus::Keep
});
