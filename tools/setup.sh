#!/bin/sh
# setup - install the Debian packages Tandem needs, if any is missing (as root, or with sudo).
#   sh tools/setup.sh run|check      what make run needs; and what the tests need besides (the default)
set -eu
build="gcc make pkg-config libc6-dev libevent-dev libssl-dev libexpat1-dev libmilter-dev liblua5.4-dev
libsqlite3-dev libgsasl-dev libidn-dev libidn2-dev libgmime-3.0-dev libcurl4-openssl-dev libxml2-dev
libjansson-dev libpcre2-dev libwslay-dev libunbound-dev dns-root-data openssl python3 python3-slixmpp"
tests="check postfix m4 libwrap0 libdb5.3 libldap-2.5-0 liblockfile1 libnsl2 libsasl2-2 knot knot-dnssecutils"
others="chromium chromium-driver go-sendxmpp nodejs profanity tmux"
npm_packages='"converse.js": "14.0.0", "@xmpp/client": "0.14.0", "stanza": "12.22.0"'
npm=${TANDEM_NPM:-${HOME:-/root}/.cache/tandem-npm}
debs=${TANDEM_DEBS:-${HOME:-/root}/.cache/tandem-debs}

say()
{
	echo "setup: $*" >&2
}

# Any package that is the machine's mail server already: installing Postfix would remove it.
other_mta()
{
	dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
		awk '$1 == "installed" && $2 != "postfix" && / mail-transport-agent/ { print $2; exit }'
}

missing_of()
{
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
	done
}

install_all()
{
	say "installing" "$@" "(takes minutes)"
	# Postfix is set up to do nothing, so that no mail server is started on the machine
	case " $* " in
	*" postfix "*)
		echo 'postfix postfix/main_mailer_type select No configuration' | $as debconf-set-selections || true
		;;
	esac
	# what apt has to say matters only when it fails
	if ! out=$({ $as apt-get -o DPkg::Lock::Timeout=300 update -qq &&
		$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove \
			-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; } 2>&1); then
		printf '%s\n' "$out" >&2
		return 1
	fi
}

sendmail_there()
{
	for p in sendmail-bin sendmail-base sendmail-cf; do
		ls "$debs/$p"_*.deb >/dev/null 2>&1 || return 1
	done
}

# The sendmail package would remove Postfix: the tests unpack it instead.
sendmail_fetch()
{
	mkdir -p "$debs" && cd "$debs" && apt-get download -qq sendmail-bin sendmail-base sendmail-cf
}

# The clients written in JavaScript; the package manager for them is not installed for these alone.
npm_fetch()
{
	want="{ \"private\": true, \"dependencies\": { $npm_packages } }"
	[ -d "$npm/node_modules/stanza" ] && [ "$(cat "$npm/package.json" 2>/dev/null)" = "$want" ] && return 0
	command -v npm >/dev/null 2>&1 || { echo "there is no npm"; return 1; }
	# from nothing, npm stumbles over what another list left; and beside it, so that a failure takes nothing away
	rm -rf "$npm.new" && mkdir -p "$npm.new" && cd "$npm.new" && printf '%s\n' "$want" >package.json &&
		npm install --no-audit --no-fund --ignore-scripts --no-package-lock --fetch-retries=1 2>&1 || return 1
	mkdir -p "$npm" && rm -rf "$npm/node_modules" "$npm/package-lock.json" &&
		mv "$npm.new/node_modules" "$npm.new/package.json" "$npm" && rmdir "$npm.new"
}

for tool in dpkg-query apt-get; do
	if ! command -v $tool >/dev/null 2>&1; then
		say "there is no $tool, so this is no Debian: install what docs/guide/install.md names, then plain \"make\";"
		say "\"sh tools/run.sh\" then does the rest of make run, \"make units fuzzers && python3 tests/run.py\" of make check"
		exit 1
	fi
done

want=$build
[ "${1:-check}" = run ] || want="$build $tests"
# shellcheck disable=SC2086
missing=$(missing_of $want)
if printf '%s\n' "$missing" | grep -qx postfix; then
	mta=$(other_mta)
	if [ -n "$mta" ]; then
		say "$mta is this machine's mail server and stays: without Postfix its tests are skipped"
		missing=$(printf '%s\n' "$missing" | grep -vx postfix || true)
	fi
fi

as=""
[ "$(id -u)" = 0 ] || as=sudo
# shellcheck disable=SC2086
if [ -n "$missing" ]; then
	if [ -n "$as" ] && ! command -v sudo >/dev/null 2>&1; then
		say "packages are missing, and only root can install them: you are $(id -un), and there is no sudo"
	elif install_all $missing; then
		missing=""
	else
		say "packages are missing and could not be installed; apt or sudo said why, above"
	fi
	if [ -n "$missing" ]; then
		say "let root run: apt-get install --no-install-recommends" $missing
		# shellcheck disable=SC2086
		[ -z "$(missing_of $build check)" ] || exit 1
		say "the tests that need them are skipped"
	fi
fi

if [ "${1:-check}" != run ] && ! sendmail_there; then
	# a machine with every package may have no lists of them
	why=$(sendmail_fetch 2>&1) || [ -n "$as" ] || {
		apt-get -o DPkg::Lock::Timeout=300 update -qq || true
		why=$(sendmail_fetch 2>&1) || true
	}
	sendmail_there || say "Sendmail's packages cannot be fetched, so its tests are skipped: $(echo "$why" | tail -n 1)"
fi
if [ "${1:-check}" != run ]; then
	# apart from the rest, and one by one: not every system has them as packages
	# shellcheck disable=SC2086
	missing=$(missing_of $others)
	if [ -n "$missing" ] && { [ -z "$as" ] || command -v sudo >/dev/null 2>&1; }; then
		# shellcheck disable=SC2086
		install_all $missing || for p in $missing; do install_all "$p" || true; done
		# shellcheck disable=SC2086
		missing=$(missing_of $missing)
	fi
	# shellcheck disable=SC2086
	[ -z "$missing" ] || say "there is no" $missing "so tests with it are skipped"
	why=$(npm_fetch) || say "converse.js, xmpp.js and stanza cannot be fetched, so tests with them are skipped: $(echo "$why" | tail -n 1)"
fi
