#!/bin/sh
# layers - includes go downward only: base < conf < store < lua < {xmpp, milter} < gateway; xmpp and
# milter never see each other; outside milter/io_libmilter.c and milter/service.c nobody calls libmilter.
# Run from anywhere; prints file:line of each offence, exit status 1 if there is one.
set -eu
cd "$(dirname "$0")/../.."
find gateway conf store lua xmpp milter \( -name '*.c' -o -name '*.h' \) | sort | xargs awk '
function layer(path) {
	if (path ~ /^gateway\/base\//) return "base"
	sub(/\/.*/, "", path)
	return path
}
BEGIN {
	split("base conf store lua xmpp milter gateway", names, " ")
	split("1    2    3     4   5    5      6", ranks, " ")
	for (i in names) rank[names[i]] = ranks[i]
}
FNR == 1 { mine = layer(FILENAME) }
/^[ \t]*#[ \t]*include[ \t]*"/ {
	inc = $0
	sub(/^[^"]*"/, "", inc)
	sub(/".*/, "", inc)
	if (inc !~ /\//) {
		print FILENAME ":" FNR ": include \"" inc "\" is not a path from the root"
		bad = 1
		next
	}
	theirs = layer(inc)
	if (!(theirs in rank)) {
		print FILENAME ":" FNR ": include \"" inc "\" is in no layer"
		bad = 1
	} else if (rank[theirs] > rank[mine] || (rank[theirs] == rank[mine] && theirs != mine)) {
		print FILENAME ":" FNR ": " mine " must not include " theirs " (\"" inc "\")"
		bad = 1
	}
}
/(^|[^A-Za-z0-9_])smfi_[a-z]+[ \t]*\(/ && FILENAME != "milter/io_libmilter.c" && FILENAME != "milter/service.c" && $0 !~ /^[ \t]*(\*|\/\*|\/\/)/ {
	print FILENAME ":" FNR ": smfi_* is called in milter/io_libmilter.c and milter/service.c only"
	bad = 1
}
/#[ \t]*include[ \t]*<libmilter\// && FILENAME !~ /^milter\// {
	print FILENAME ":" FNR ": libmilter belongs to milter/"
	bad = 1
}
END { exit bad }
' || exit 1
