#!/bin/sh
# Builds the fuzz targets with libFuzzer's instrumentation; needs a nightly compiler, not cargo-fuzz.
# With --target, only the code under test is instrumented, not what is run by the compiler.
set -eu
cd "$(dirname "$0")"
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1"
exec cargo +nightly build --release --bin treering-fuzz --target "$(rustc +nightly -vV | sed -n 's/^host: //p')" "$@"
