#!/bin/sh
# run - a development server in ./run: make its folder, start it, say how to use it. Run it again at any time.
#   sh tools/run.sh [build folder]
# TANDEM_PORT, TANDEM_TLS_PORT, TANDEM_MILTER_PORT, TANDEM_SUBMIT_PORT choose other ports for a new folder.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
port=${TANDEM_PORT:-5222}
tls_port=${TANDEM_TLS_PORT:-5223}
milter_port=${TANDEM_MILTER_PORT:-8892}
submit_port=${TANDEM_SUBMIT_PORT:-8825}
dir=$PWD/run
new=no
ctl="$build/tandemctl -s run/control.sock"
mkdir -p "$dir"
chmod 700 "$dir"

# Yours to change: it is only written when it is not there.
[ -e "$dir/tandem.conf" ] || new=yes
[ $new = no ] || cat >"$dir/tandem.conf" <<EOF
# A server for development: only this machine can reach it.
hostname = "localhost"
data_dir = "$dir"
log_file = "tandem.log"
pidfile = "tandem.pid"

xmpp {}
xmpp_listener {
  AuthParameters = [ uri = "store://" ]
  TLS_Certificate = "tls/localhost.pem"           # self-signed, made at the first start
  Listen "127.0.0.1:$port" {}
  Listen "[::1]:$port" {}
  Listen "127.0.0.1:$tls_port" { use_ssl = true }
}
milter_listener { Listen "127.0.0.1:$milter_port" {} }   # TCP, so that a chrooted Postfix reaches it
control_listener { Listen "$dir/control.sock" {} }

domain "localhost" { XMPP_Role = "server" }       # one name for mail and chat
mail {
  submit = "smtp://127.0.0.1:$submit_port"            # mail made from chat: tools/demo-mail.sh shows it; 25: your MTA
  gateway_domain = "mail.localhost"               # anybody's mail address as a contact: carol\\40example.org@mail.localhost
}

scriptlet "scriptlet" {
  script "notify" { source = "tandem.notify" }
  script "route" { source = "tandem.route" }
}
EOF

if $ctl version >/dev/null 2>&1; then
	echo "Tandem is running already."
	case $(readlink "/proc/$(cat "$dir/tandem.pid" 2>/dev/null)/exe" 2>/dev/null) in
	*" (deleted)") echo "It is an older build: stop it as said below, then make run starts the new one." ;;
	esac
else
	# it goes to the background by itself, and returns here once every listener is bound
	if ! "$build/tandemd" -c "$dir/tandem.conf"; then
		if [ $new = yes ]; then
			rm -f "$dir/tandem.conf"
			echo "run: not started; for other ports: TANDEM_PORT=5322 TANDEM_TLS_PORT=5323 TANDEM_MILTER_PORT=8992 make run" >&2
		else
			echo "run: not started; its settings are in run/tandem.conf, its log is run/tandem.log" >&2
		fi
		exit 1
	fi
	echo "Tandem is running."
fi

# Passwords are made once and kept where only you can read them.
umask 077
touch "$dir/accounts.txt"
for who in anna@localhost bert@localhost; do
	if ! grep -q "^$who	" "$dir/accounts.txt"; then
		printf '%s\t%s\n' "$who" "$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')" >>"$dir/accounts.txt"
	fi
	if ! $ctl account list | grep -qx "$who"; then
		sed -n "s/^$who	//p" "$dir/accounts.txt" | $ctl account add "$who"
	fi
done
port=$(sed -n 's/.*Listen "127\.0\.0\.1:\([0-9]*\)" {}$/\1/p' "$dir/tandem.conf" | head -n 1)
milter=$(sed -n 's/^milter_listener { Listen "\([^"]*\)".*/\1/p' "$dir/tandem.conf")
case $milter in
/*) milter=unix:$milter ;;
*) milter=inet:$milter ;;
esac

attach="postconf -e smtpd_milters=$milter milter_default_action=tempfail local_recipient_maps= && postfix reload"
if [ ! -e /etc/postfix/main.cf ]; then
	attach="(there is no Postfix with a configuration here: apt-get install postfix, or dpkg-reconfigure postfix)
  $attach"
fi

cat <<EOF

Accounts (address, password):
$(sed 's/^/  /' "$dir/accounts.txt")

Chat client: log in with an address above; host 127.0.0.1, port ${port:-5222}; take the self-signed certificate.

See a mail arrive as chat, and a chat leave as mail, in one command:
  sh tools/demo-mail.sh

Attach Postfix (mail for anna@localhost then comes to her chat while she is online; otherwise it bounces: she has no
mailbox, and the empty local_recipient_maps lets Postfix take her mail all the same):
  $attach
Mail made from chat goes to the \`submit\` of run/tandem.conf (write port 25 there for your Postfix). What waits for it:
  $ctl outbox list

Look and change:
  $ctl summary
  tail -f run/tandem.log
  edit run/tandem.conf, then: $ctl config reload

Stop it:
  $ctl shutdown
EOF
