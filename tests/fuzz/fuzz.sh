#!/bin/sh
# fuzz.sh [TARGET] [SECONDS] - libFuzzer on one target, or on all in turn.  Needs clang and its runtime
# (packages clang, libclang-rt-14-dev).  New inputs stay in build/fuzz/corpus, findings in build/fuzz.
set -eu
target=${1:-} seconds=${2:-60}
cd "$(dirname "$0")/../.."
command -v clang >/dev/null || { echo "fuzz: clang is missing: apt-get install clang libclang-rt-14-dev" >&2; exit 1; }
echo 'int main(void){return 0;}' > build/.probe.c 2>/dev/null || { mkdir -p build; echo 'int main(void){return 0;}' > build/.probe.c; }
clang -fsanitize=address -o build/.probe build/.probe.c 2>/dev/null || {
	echo "fuzz: clang's runtime is missing: apt-get install libclang-rt-14-dev" >&2
	exit 1
}
rm -f build/.probe build/.probe.c
if [ -z "$target" ]; then
	targets=$(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')
else
	targets=$target
fi
for t in $targets; do
	[ -e "tests/fuzz/fuzz_$t.c" ] || { echo "fuzz: no target $t; there are:" $(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||') >&2; exit 2; }
	make --no-print-directory CC=clang B=build/fuzz FUZZ_ENGINE=1 \
		CFLAGS="-O1 -U_FORTIFY_SOURCE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" \
		LDFLAGS="-fsanitize=address,undefined" "build/fuzz/tests/fuzz_$t"
	mkdir -p "build/fuzz/corpus/$t"
	echo "fuzz: $t for $seconds s"
	ASAN_OPTIONS=detect_leaks=1 "build/fuzz/tests/fuzz_$t" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 \
		-max_len=65536 -artifact_prefix="build/fuzz/$t-" -print_final_stats=1 \
		"build/fuzz/corpus/$t" "tests/fuzz/corpus/$t" 2>"build/fuzz/$t.log" || {
		tail -60 "build/fuzz/$t.log"
		exit 1
	}
	grep -E "number_of_executed_units|average_exec" "build/fuzz/$t.log" || true
done
