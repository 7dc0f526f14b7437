#!/bin/sh
# Prints the instructions of one run of each operation, or of those named. Each is run N and 2N times, and the difference
# divided by N, so that preparing it does not count.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release --package posthorn-bench --bin hot
hot="${CARGO_TARGET_DIR:-target}/release/hot"

if perf stat -e instructions:u true >/dev/null 2>&1 && ! perf stat -e instructions:u true 2>&1 | grep -q 'not supported'; then
    tool='perf stat -e instructions:u'
    count() { perf stat -x, -e instructions:u "$hot" "$1" "$2" 2>&1 >/dev/null | awk -F, '/instructions/ { print $1 }'; }
elif valgrind --version >/dev/null 2>&1; then
    tool='valgrind --tool=cachegrind'
    count() {
        valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null "$hot" "$1" "$2" 2>&1 >/dev/null |
            awk '/I *refs:/ { gsub(",", "", $NF); print $NF }'
    }
else
    echo 'counting instructions needs perf (and the right to use it) or valgrind; neither runs here' >&2
    exit 1
fi

echo "instructions by $tool"
echo
echo '| operation | instructions |'
echo '|---|---:|'
for name in ${*:-$("$hot")}; do
    case $name in append_*) n=20 ;; *) n=300 ;; esac
    once=$(count "$name" "$n")
    twice=$(count "$name" $((2 * n)))
    echo "| $name | $(((twice - once) / n)) |"
done
