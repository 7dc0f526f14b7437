#!/usr/bin/env bash
# Counts the instructions of one run of each operation, or of those named, writes them to bench/INSTRUCTIONS.md and shows how they
# differ from the ones that were there. Each operation is run N and 2N times, and the difference divided by N, so that preparing it
# does not count. With --check it fails when one has grown by more than 5 %, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

table=bench/INSTRUCTIONS.md
allowed=5
check=
if [[ ${1-} == --check ]]; then
    check=1
    shift
fi
if ! valgrind --version >/dev/null 2>&1; then
    echo 'valgrind is missing: scripts/bootstrap.sh valgrind' >&2
    exit 1
fi
cargo build --quiet --release --package posthorn-bench --bin hot
hot="${CARGO_TARGET_DIR:-target}/release/hot"

count() {
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null "$hot" "$1" "$2" 2>&1 >/dev/null |
        awk '/I *refs:/ { gsub(",", "", $NF); print $NF }'
}

kept() { # the count of an operation in the table, if it is there
    [[ -f $table ]] && awk -F '|' -v name=" $1 " '$2 == name { gsub(/[ ,]/, "", $3); print $3 }' "$table"
}

grouped() { # 1234567 as 1,234,567
    echo "$1" | awk '{ s = $1; while (match(s, /[0-9][0-9][0-9][0-9]($|,)/)) s = substr(s, 1, RSTART) "," substr(s, RSTART + 1); print s }'
}

declare -A counted before units
grown=()
all=()
while read -r name count unit; do
    all+=("$name")
    units[$name]="$count $unit"
done < <("$hot")
names=("$@")
if ((${#names[@]} == 0)); then
    # Preparing a million routes takes valgrind many minutes: that one is counted when it is named.
    for name in "${all[@]}"; do
        [[ $name == route_1000000_* ]] || names+=("$name")
    done
fi
for name in "${names[@]}"; do
    case $name in
        append_* | settle_* | attempts_* | deliver_* | filter_* | compile_*) n=20 ;;
        route_*) n=5 ;;
        # Twice all of the inputs, so that every one counts as often.
        *) n=182 ;;
    esac
    once=$(count "$name" "$n")
    twice=$(count "$name" $((2 * n)))
    counted[$name]=$(((twice - once) / n))
    before[$name]=$(kept "$name" || true)
    change=new
    if [[ -n ${before[$name]} && ${before[$name]} -gt 0 ]]; then
        change=$(awk -v a="${before[$name]}" -v b="${counted[$name]}" 'BEGIN { printf "%+.1f %%", (b / a - 1) * 100 }')
        awk -v a="${before[$name]}" -v b="${counted[$name]}" -v most="$allowed" 'BEGIN { exit !(b > a * (1 + most / 100)) }' && grown+=("$name $change")
    fi
    printf '%-24s %14s   %s\n' "$name" "$(grouped "${counted[$name]}")" "$change"
done

if ((${#grown[@]})); then
    printf 'dearer by more than %s %%: %s\n' "$allowed" "${grown[*]}" >&2
fi
if [[ -n $check ]]; then
    exit $((${#grown[@]} > 0))
fi

# Operations that were not counted keep their line.
{
    echo '# Instructions of one run of each operation'
    echo
    echo "Written by \`make bench\` ([bench/README.md](README.md)), with valgrind's cachegrind, which runs code for a processor without SHA and"
    echo 'AVX-512 instructions. `before` is what stood here; `of one` is a run divided by the events, deliveries and so on that it is of; times differ between machines, these hardly do.'
    echo
    echo "Commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(rustc --version | cut -d ' ' -f 1-2)."
    echo
    echo '| operation | instructions | before | change | of one | |'
    echo '|---|---:|---:|---:|---:|---|'
    for name in "${all[@]}"; do
        if [[ -n ${counted[$name]-} ]]; then
            old=${before[$name]}
            change=
            if [[ -n $old && $old -gt 0 ]]; then
                change=$(awk -v a="$old" -v b="${counted[$name]}" 'BEGIN { printf "%+.1f %%", (b / a - 1) * 100 }')
                old=$(grouped "$old")
            fi
            read -r count unit <<<"${units[$name]}"
            one=$((counted[$name] / count))
            echo "| $name | $(grouped "${counted[$name]}") | $old | $change | $(grouped "$one") | $unit |"
        elif [[ -f $table ]]; then
            grep -F "| $name |" "$table" || true
        fi
    done
} >"$table.new"
mv "$table.new" "$table"
