#!/bin/sh
# setup - install the Debian packages Tandem needs, if any is missing (root or sudo).
set -eu
build="gcc make pkg-config libc6-dev libevent-dev libssl-dev libexpat1-dev libmilter-dev liblua5.4-dev
libsqlite3-dev libgsasl-dev libidn-dev libidn2-dev libgmime-3.0-dev libcurl4-openssl-dev libxml2-dev
libjansson-dev libpcre2-dev openssl"
tests="check postfix swaks m4 libwrap0 libdb5.3 libldap-2.5-0 liblockfile1 libnsl2 libsasl2-2
python3 python3-slixmpp python3-aiosmtpd"
missing=""
for p in $build $tests; do
	case "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
# the sendmail package would remove postfix: the tests unpack it instead
debs="${TANDEM_DEBS:-$HOME/.cache/tandem-debs}"
[ -n "$missing" ] || { [ -n "$(ls "$debs"/sendmail-bin_*.deb 2>/dev/null)" ] && exit 0; }
if [ "$(id -u)" = 0 ]; then
	as=""
elif command -v sudo >/dev/null 2>&1; then
	as="sudo"
else
	if [ -n "$missing" ]; then
		echo "setup: these packages are missing:$missing" >&2
		echo "setup: run as root, or install sudo, or run: apt-get install$missing" >&2
		exit 1
	fi
	exit 0
fi
if [ -n "$missing" ]; then
	echo "setup: installing$missing"
	$as apt-get -o DPkg::Lock::Timeout=300 update -qq
	# installed without a configuration, so that no MTA of the machine is started
	echo 'postfix postfix/main_mailer_type select No configuration' | $as debconf-set-selections || true
	$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=300 $missing >/dev/null
fi
if [ -z "$(ls "$debs"/sendmail-bin_*.deb 2>/dev/null)" ]; then
	mkdir -p "$debs"
	(cd "$debs" && apt-get download -qq sendmail-bin sendmail-base sendmail-cf 2>/dev/null) ||
		echo "setup: the sendmail packages could not be fetched; its tests will say so" >&2
fi
