#!/bin/sh
# lint - layers, banned calls, clang-format, clang-tidy, cppcheck over the C sources.
# usage: lint.sh [FILE.c...]   (all sources by default).  A missing tool is an error that names the
# package; exit status 1 if any check found something.  LINT_JOBS = processes of clang-tidy (2).
set -u
cd "$(dirname "$0")/../.."
status=0

missing=
for t in clang-format clang-tidy cppcheck; do
	command -v $t > /dev/null 2>&1 || missing="$missing $t"
done
if [ -n "$missing" ]; then
	echo "lint:$missing: not installed; on Debian: apt-get install$missing" >&2
	exit 1
fi

run()
{
	name=$1
	shift
	echo "lint: $name"
	"$@" || { echo "lint: $name found something" >&2; status=1; }
}

run layers sh tests/lint/layers.sh
run "banned calls" sh tests/lint/banned.sh

if [ $# -gt 0 ]; then
	files="$*"
else
	files=$(find gateway conf store lua xmpp milter tests/unit tests/fuzz tests/bench -name '*.c' 2>/dev/null | sort)
fi
headers=$(find gateway conf store lua xmpp milter -name '*.h' | sort)
[ $# -gt 0 ] && headers=
db=$(mktemp -d) || exit 1
trap 'rm -rf "$db"' EXIT
trap 'exit 1' INT TERM

# The flags the Makefile compiles with, without those only gcc knows.  gcc says -Wcast-qual in every
# build; clang would say it of the casts inside OpenSSL's macros, too.
make -s --no-print-directory -f - show << 'EOM' > "$db/flags" || exit 1
include Makefile
show:
	$(info $(ALL_CFLAGS) $(DIR_CFLAGS))@:
EOM
python3 - "$db" $files << 'EOP' || exit 1
import json, os, re, shlex, sys
db, files = sys.argv[1], sys.argv[2:]
gcc_only = re.compile(r"-O\d?|-g|-fstack-.*|-fPIE|-D_FORTIFY_SOURCE=.*|-Wcast-qual")
flags = [f for f in shlex.split(open(db + "/flags").read()) if not gcc_only.fullmatch(f)] + ["-include", "tests/lint/analyzer.h"]
json.dump([{"directory": os.getcwd(), "file": f, "arguments": ["cc", *flags, "-c", f]} for f in files],
          open(db + "/compile_commands.json", "w"))
EOP

run clang-format clang-format --dry-run --Werror $files $headers
tidy()
{
	echo $files | tr ' ' '\n' | xargs -P "${LINT_JOBS:-2}" -n 4 clang-tidy --quiet -p "$db" --warnings-as-errors='*' 2> "$db/tidy.err" || {
		grep -v -e 'warnings generated' -e 'Suppressed ' -e 'Use -header-filter' "$db/tidy.err" >&2
		return 1
	}
}
run clang-tidy tidy
# the loops of sys/queue.h are code, which cppcheck must see; it reads no other system header
queue=$(echo '#include <sys/queue.h>' | ${CC:-cc} -M -xc - | tr -s ' \\' '\n' | grep 'sys/queue\.h$')
run cppcheck cppcheck --quiet -j "${LINT_JOBS:-2}" --std=c11 --language=c --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=unknownMacro ${queue:+--include=$queue} --suppress=normalCheckLevelMaxBranches -I. -D__linux__ $files
exit $status
