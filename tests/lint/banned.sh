#!/bin/sh
# banned - calls that have no safe use here.  A line may keep one with a reason: /* lint: why */
# Run from anywhere; prints file:line of each offence, exit status 1 if there is one.
set -eu
cd "$(dirname "$0")/../.."
find gateway conf store lua xmpp milter tests/unit tests/fuzz tests/bench \( -name '*.c' -o -name '*.h' \) 2>/dev/null | sort | xargs awk '
FNR == 1 { comment = 0 }
{
	line = $0
	# take out comments and string literals, so that prose and SQL may use the words
	gsub(/\\./, "", line)
	gsub(/"[^"]*"/, "\"\"", line)
	if (comment) {
		if (!sub(/^.*\*\//, "", line)) next
		comment = 0
	}
	keep = line ~ /\/\* lint: /
	gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
	sub(/\/\/.*/, "", line)
	if (sub(/\/\*.*/, "", line)) comment = 1
	if (!keep && match(line, /(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|gets|system|strncpy|tmpnam|mktemp)[ \t]*\(/)) {
		word = substr(line, RSTART, RLENGTH)
		gsub(/[^A-Za-z]/, "", word)
		print FILENAME ":" FNR ": " word " is banned"
		bad = 1
	}
}
END { exit bad }
' || exit 1
