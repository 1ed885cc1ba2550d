#!/bin/sh
# gendocs - write docs/reference from the program's own tables and sources (`make docs`).
#
#   tools/gendocs.sh BUILD [OUTDIR]     OUTDIR: docs/reference
#
# The small program that prints the tables is compiled with the flags BUILD was made with.
set -eu
cd "$(dirname "$0")/.."
b=${1:?usage: tools/gendocs.sh BUILD [OUTDIR]}
out=${2:-docs/reference}
for f in .flags libxmpp.a libstore.a libconf.a libbase.a; do
	f=$b/$f
	[ -e "$f" ] || { echo "gendocs: $f is missing: run make first" >&2; exit 1; }
done
LC_ALL=C.UTF-8
export LC_ALL
# <b> may have blanks
eval "$(cat "$b/.flags") -o \"\$b/gendocs.\$\$\" tools/gendocs.c \
	\"\$b/libxmpp.a\" \"\$b/libstore.a\" \"\$b/libconf.a\" \"\$b/libbase.a\" \
	$(pkg-config --libs libevent libevent_pthreads openssl expat sqlite3 libgsasl libidn libidn2 libpcre2-8 jansson) \
	-lcrypt -lpthread -lm"
mv "$b/gendocs.$$" "$b/gendocs"
mkdir -p "$out"
/usr/bin/python3 tools/gendocs.py "$b/gendocs" "$out"
