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

# the flags the Makefile compiles with, without those only gcc knows
flags=$(make -s --no-print-directory -f - show << 'EOM'
include Makefile
show:
	@echo '$(ALL_CFLAGS)'
EOM
)
flags=$(echo "$flags" | tr ' ' '\n' | grep -v -e '^-O' -e '^-g$' -e '^-fstack' -e '^-fPIE' -e '_FORTIFY_SOURCE' | tr '\n' ' ')

db=$(mktemp -d) || exit 1
trap 'rm -rf "$db"' EXIT INT TERM
python3 - "$db/compile_commands.json" $files << EOP
import json, os, sys
flags = r"""$flags"""
json.dump([{"directory": os.getcwd(), "file": f, "arguments": ["cc", *flags.split(), "-c", f]} for f in sys.argv[2:]], open(sys.argv[1], "w"))
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
run cppcheck cppcheck --quiet --std=c11 --language=c --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches -I. -D__linux__ $files
exit $status
