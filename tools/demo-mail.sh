#!/bin/sh
# demo-mail - send a mail through the milter of the server that `make run` started, and show it arrive as chat.
#   sh tools/demo-mail.sh [text]
set -eu
cd "$(dirname "$0")/.."
[ -e run/accounts.txt ] || { echo "demo-mail: no server in ./run: start it with make run" >&2; exit 1; }
exec /usr/bin/python3 tools/demo_mail.py "$@"
