#!/bin/sh
# Runs targets, one after the other: fuzz/run.sh SECONDS FOLDER [TARGET …]; without targets, all of them.
# FOLDER holds what is found: a corpus for each target, its log, and inputs that fail (crash-*, oom-*, timeout-*).
# What was found is committed, as small as it can be made, to tests/corpus/TARGET/.
set -eu
seconds=$1 folder=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
program=${CARGO_TARGET_DIR:-$here/target}/$host/release/treering-fuzz
[ $# -gt 0 ] || set -- $(ls "$here/../tests/corpus")
for target; do
    mkdir -p "$folder/$target"
    # A decoder may not take more memory than its limits say, and no input may take long.
    TREERING_FUZZ_TARGET=$target "$program" "$folder/$target" "$here/../tests/corpus/$target" \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=128 \
        -artifact_prefix="$folder/$target-" -print_final_stats=1 >"$folder/$target.log" 2>&1 || echo "$target: FOUND"
    echo "$target: $(sed -n 's/^Done \(.*\)/\1/p; s/^stat::number_of_executed_units: */executed /p' "$folder/$target.log" | tr '\n' ' ')"
done
