/* options - every option there is, one row each.
 * The reference page is made from this table (tandemd --list-options), so the doc line is
 * what an operator reads.  Adding an option: a row here, a test in tests/conf, and done. */
#include "conf/conf.h"

#define G CS_GLOBAL
#define D CS_DOMAIN
#define GD (CS_GLOBAL | CS_DOMAIN)
#define X CS_XMPP
#define XL CS_XMPP_LISTENER
#define CL CS_CONTROL_LISTENER
#define ML CS_MILTER_LISTENER
#define HL CS_HTTP_LISTENER
#define ALL_L CS_LISTENERS
#define N CS_LISTEN
#define P CS_PEER
#define SC (CS_SCRIPTLET | CS_SCRIPT)
#define ANY INT64_MAX

static const char *const log_levels[] = { "error", "warn", "notice", "info", "debug", NULL };
static const char *const debug_levels[] = { "debug", "info",     "notice", "warning",
					    "error", "critical", NULL };
static const char *const roles[] = { "server", "client", NULL };
static const char *const streams[] = { "any", "client", "server", NULL };
static const char *const tls_words[] = { "no", "ifavailable", "required", NULL };
static const char *const tls_verify_words[] = { "no", "ca", "host", "optional", NULL };
static const char *const tls_mode_words[] = { "none", "optional", "require", NULL };
static const char *const conflict_words[] = { "replace", "reject", "rename", NULL };
static const char *const ack_words[] = { "stored", "handled", NULL };
static const char *const fault_words[] = { "tempfail", "accept", "reject", NULL };
static const char *const lua_fault_words[] = { "tempfail", "accept", NULL };
static const char *const mcmt_words[] = { "passthru", "reject", "allow", NULL };
static const char *const blackhole_words[] = { "false", "true", "inline", "internal", NULL };
static const char *const service_words[] = { "muc",    "pubsub",  "upload", "proxy65",
					     "search", "gateway", NULL };
static const char *const create_words[] = { "anyone", "local", "admins", NULL };
static const char *const access_words[] = { "none", "get", "set", "both", NULL };
static const char *const outgoing_words[] = { "none", "outgoing", NULL };
static const char *const tap_words[] = { "none", "managed_entity", "roster", NULL };
static const char *const cert_id_words[] = { "xmppaddr", "email", "commonname", NULL };
static const char *const invite_words[] = { "none", "admins", "users", NULL };
static const char *const transport_words[] = { "udp", "tcp", NULL };
static const char *const auth_keys[] = {
	"uri", "realm", "stored_cleartext", "log_authentication", "mechanisms", NULL
};
static const char *const authz_keys[] = { "uri", NULL };
static const char *const debug_words[] = { "ERROR",  "TIME", "FD",    "SMTP", "LOG1", "DNS",
					   "DNSDS",  "NET",  "SIG",   "MEM",  "DB",   "LIC",
					   "SSL",    "MOD",  "START", "ALL",  "XMPP", "S2S",
					   "MILTER", "LUA",  "AUTH",  NULL };

// clang-format off
const struct conf_option conf_options[] = {
	/* ---- process ---- */
	{ "hostname", CT_STRING, G, NULL, 0, 0, NULL, 0, "own name of this host; unset: gethostname()" },
	{ "data_dir", CT_STRING, G, "/var/lib/tandem", 0, 0, NULL, CO_RESTART, "folder of the store; relative paths are below it" },
	{ "log_file", CT_STRING, G, "-", 0, 0, NULL, 0, "event log; - is standard error" },
	{ "log_level", CT_ENUM, G, "info", 0, 0, log_levels, 0, "how much the event log says" },
	{ "workers", CT_INT, G, "0", 0, 256, NULL, CO_RESTART, "event loops; 0 = one per core" },
	{ "pidfile", CT_STRING, G, NULL, 0, 0, NULL, CO_RESTART, "file the process id is written to" },
	{ "server_max_file_descriptors", CT_INT, G, "0", 0, 10000000, NULL, CO_RESTART, "limit of open files; 0 = as many as the system lets us have" },
	{ "local_changes_file", CT_STRING, G, NULL, 0, 0, NULL, 0, "file loaded after everything else" },
	{ "local_changes_only", CT_BOOL, G, "false", 0, 0, NULL, CO_IGNORED, "no file is ever written: changes by console last until the next start" },
	{ "match_cache_size", CT_INT, G, "16384", 1, 1000000, NULL, 0, "names remembered with the regex domains they match; a thread keeps 1024 at most" },
	{ "match_cache_life", CT_INT, G, "0", 0, ANY, NULL, CO_IGNORED, "a match never goes stale: every reload starts afresh" },
	{ "use_ipv6", CT_BOOL, G, "true", 0, 0, NULL, 0, "use AAAA records for outgoing streams" },
	{ "prefer_ipv6_mxs", CT_BOOL, G, "false", 0, 0, NULL, CO_IGNORED, "addresses of both families are tried in turn" },
	{ "resolv_conf", CT_STRING, G, "/etc/resolv.conf", 0, 0, NULL, 0, "file that names the DNS servers; none: the root servers are asked" },
	{ "dns_servers", CT_LIST, G, NULL, 0, 0, NULL, 0, "DNS servers in place of resolv_conf: 192.0.2.53, 127.0.0.1@5353" },
	{ "dns_timeout", CT_INT, G, "10", 1, 300, NULL, 0, "seconds for the answer to a DNS question" },
	{ "hosts_file", CT_STRING, G, "/etc/hosts", 0, 0, NULL, 0, "addresses that come before DNS; none: only DNS counts" },
	{ "dnssec_trust_anchor", CT_LIST, G, NULL, 0, 0, NULL, 0, "files of DNSSEC trust anchors; unset: /usr/share/dns/root.key when it is there; none: no DNSSEC, no DANE" },
	{ "prohibited_hosts", CT_LIST, G, NULL, 0, 0, NULL, 0, "never connected to: addresses, networks, host names, *.example.com" },
	{ "relay_domains", CT_LIST, G, NULL, 0, 0, NULL, 0, "mail domains taken as local: example.com, *.example.com" },
	{ "bind_address", CT_STRING, G, "*", 0, 0, NULL, 0, "source address of outgoing streams" },
	{ "timestampformat", CT_STRING, G, NULL, 0, 0, NULL, CO_IGNORED, "the event log has a fixed time format" },
	{ "reconfig_message", CT_STRING, G, NULL, 0, 0, NULL, CO_IGNORED, "sessions outlive a reload" },
	{ "watchdog_interval", CT_INT, G, "60", 0, ANY, NULL, CO_IGNORED, "the service manager watches (WatchdogSec=)" },
	{ "trace_smtp_mode", CT_MODE, G, NULL, 0, 0, NULL, CO_IGNORED, "the MTA speaks SMTP" },

	/* ---- listeners ---- */
	{ "enable", CT_BOOL, ALL_L | N, "true", 0, 0, NULL, 0, "false: configured but not bound" },
	{ "listen_backlog", CT_INT, ALL_L | N, "500", 1, 65535, NULL, 0, "backlog of listen(2)" },
	{ "accept_queue_backlog", CT_INT, ALL_L | N, "0", 0, ANY, NULL, CO_IGNORED, "every worker accepts for itself" },
	{ "concurrency", CT_INT, ALL_L | N, "0", 0, ANY, NULL, CO_IGNORED, "every worker accepts for itself; see workers" },
	{ "pool_name", CT_STRING, ALL_L | N, NULL, 0, 0, NULL, CO_IGNORED, "every worker accepts for itself" },
	{ "events_per_iter", CT_INT, ALL_L | N, "0", 0, ANY, NULL, CO_IGNORED, "every worker accepts for itself" },
	{ "event_loop", CT_STRING, ALL_L | N, NULL, 0, 0, NULL, CO_IGNORED, "see workers" },
	{ "file_mode", CT_MODE, ALL_L | N, "0660", 0, 0, NULL, 0, "mode of a Unix socket" },
	{ "file_group", CT_STRING, ALL_L | N, NULL, 0, 0, NULL, 0, "group of a Unix socket, so that the MTA may connect" },
	{ "idle_time", CT_INT, ALL_L | N | P, "0", 0, ANY, NULL, 0, "seconds of silence before disconnect; 0 = never" },
	{ "tcp_recv_buffer_size", CT_SIZE, ALL_L | N, "4096", 0, 1073741824, NULL, 0, "socket buffer; 0 and 4096 leave it to the system" },
	{ "tcp_send_buffer_size", CT_SIZE, ALL_L | N, "4096", 0, 1073741824, NULL, 0, "socket buffer; 0 and 4096 leave it to the system" },
	{ "disable_nagle_algorithm", CT_BOOL, ALL_L | N | G, "true", 0, 0, NULL, 0, "TCP_NODELAY: a stanza is small and goes out at once" },
	{ "listener_sessions", CT_INT, ALL_L | N | P, "0", 0, ANY, NULL, 0, "sessions at once per listener, or per matching Peer; 0 = unlimited" },
	{ "service_sessions", CT_INT, ALL_L | N | P, "0", 0, ANY, NULL, 0, "sessions at once of all listeners of the kind; 0 = unlimited" },
	{ "context", CT_DICT, ALL_L | N | P, NULL, 0, 0, NULL, 0, "copied into the connection context of scripts" },
	{ "proxy_protocol", CT_BOOL, ALL_L | N | P, "false", 0, 0, NULL, 0, "a PROXY header must come first" },
	{ "proxy_protocol_timeout", CT_INT, ALL_L | N | P, "60", 1, 3600, NULL, 0, "seconds to wait for the PROXY header" },
	{ "proxy_protocol_hosts", CT_LIST, ALL_L | N, NULL, 0, 0, NULL, 0, "networks whose PROXY header is believed" },
	{ "always_allow", CT_BOOL, CL | HL | N | P, "false", 0, 0, NULL, 0, "console over TCP: let in without credentials" },
	{ "always_deny", CT_BOOL, ALL_L | N | P, "false", 0, 0, NULL, 0, "refuse; beats always_allow" },
	{ "timeout", CT_INT, CL | N | P, "60", 1, 86400, NULL, 0, "seconds an idle console session lives" },
	{ "xmpp_streams", CT_ENUM, XL | N, "any", 0, 0, streams, 0, "which streams are taken: of clients, of servers, or both" },
	{ "mcmt_reception", CT_ENUM, ML | N | P, "passthru", 0, 0, mcmt_words, 0, "multi-channel messages: leave alone, refuse, or split" },

	/* ---- TLS ---- */
	{ "tls_certificate", CT_STRING, GD | ALL_L | N | P, NULL, 0, 0, NULL, CO_NONE, "PEM file, with the key or beside it; in a domain also by SNI; none = explicitly nothing" },
	{ "tls_key", CT_STRING, GD | ALL_L | N | P, NULL, 0, 0, NULL, CO_NONE, "PEM key when not in the certificate's file" },
	{ "tls_client_ca", CT_STRING, G | ALL_L | N | P, NULL, 0, 0, NULL, CO_NONE, "CA bundle for certificates of clients" },
	{ "tls_ca", CT_STRING, GD, NULL, 0, 0, NULL, CO_NONE, "CA bundle for certificates of servers; unset: the system's" },
	{ "tls_ciphers", CT_STRING, GD | ALL_L | N | P, "DEFAULT", 0, 0, NULL, 0, "OpenSSL cipher list" },
	{ "tls_protocols", CT_STRING, GD | ALL_L | N | P, "+ALL", 0, 0, NULL, 0, "+/- list of TLSv1.2 TLSv1.3; below 1.2 never" },
	{ "tls_verify_mode", CT_ENUM, G | ALL_L | N | P, "none", 0, 0, tls_mode_words, 0, "certificates of clients: ignored, checked when given, or required" },
	{ "client_cert_identity", CT_ENUM, XL | N | P, "xmppaddr", 0, 0, cert_id_words, 0, "what in a client's certificate names its account (SASL EXTERNAL): its xmppAddr; when it has none also the mail address, or the common name" },
	{ "tls_allow_renegotiation", CT_BOOL, G | ALL_L | N | P, "false", 0, 0, NULL, CO_IGNORED, "renegotiation is always refused" },
	{ "tls_required", CT_BOOL, GD | X | XL | HL | N | P, "true", 0, 0, NULL, 0, "no service before TLS" },
	{ "starttls_injection_policy", CT_STRING, G | XL | N | P, "reject", 0, 0, NULL, CO_IGNORED, "always reject" },
	{ "use_ssl", CT_BOOL, XL | HL | N, "false", 0, 0, NULL, 0, "TLS from the first byte (XEP-0368)" },
	{ "tls", CT_ENUM, GD, "required", 0, 0, tls_words, 0, "TLS of outgoing streams" },
	{ "tls_verify", CT_ENUM, GD, "host", 0, 0, tls_verify_words, 0, "certificate of the other server: not checked, chain, chain and name, or log only" },
	{ "tls_ifavailable_fallback", CT_BOOL, GD, "false", 0, 0, NULL, CO_IGNORED, "a failed handshake is never retried in clear" },

	/* ---- authentication ---- */
	{ "authparameters", CT_DICT, ALL_L | N | P, NULL, 0, 0, auth_keys, 0, "credential store for the mechanisms of today (SCRAM)" },
	{ "authscramparameters", CT_DICT, ALL_L | N | P, NULL, 0, 0, auth_keys, 0, "store for SCRAM; mechanisms = names, blank-separated" },
	{ "authplainparameters", CT_DICT, ALL_L | N | P, NULL, 0, 0, auth_keys, 0, "store for PLAIN (under TLS only) and SCRAM" },
	{ "authdigestmd5parameters", CT_DICT, ALL_L | N | P, NULL, 0, 0, auth_keys, 0, "store for SCRAM, and for DIGEST-MD5 with allow_legacy_auth" },
	{ "authloginparameters", CT_DICT, CL | N | P, NULL, 0, 0, auth_keys, CO_IGNORED, "LOGIN is not offered" },
	{ "authcrammd5parameters", CT_DICT, CL | N | P, NULL, 0, 0, auth_keys, CO_IGNORED, "CRAM-MD5 is not offered" },
	{ "allow_legacy_auth", CT_BOOL, G | X | XL | HL | CL | N | P, "false", 0, 0, NULL, 0, "offer DIGEST-MD5 too" },
	{ "enable_authentication", CT_BOOL, CL | HL | N | P, NULL, 0, 0, NULL, 0, "console over TCP: ask for credentials (SCRAM)" },
	{ "enable_authorization", CT_BOOL, CL | N | P, NULL, 0, 0, NULL, 0, "check console commands against Authorization" },
	{ "authorizationparameters", CT_DICT, CL | N | P, NULL, 0, 0, authz_keys, 0, "uri = \"groups:///...\": who has which role" },
	{ "allow", CT_LIST, CS_ROLE, NULL, 0, 0, NULL, 0, "regexes of permitted console commands" },
	{ "auth_max_failures", CT_INT, X | XL | HL | N | P, "3", 1, 100, NULL, 0, "failed logins before the stream is closed" },
	{ "auth_delay_ms", CT_INT, X | XL | HL | N | P, "500", 0, 60000, NULL, 0, "pause before a failed login is answered" },

	/* ---- domains ---- */
	{ "xmpp_role", CT_LIST, D, NULL, 0, 0, roles, 0, "server: hosted here; client: we may connect to it" },
	{ "xmpp_dialback_secret", CT_STRING, GD, NULL, 0, 0, NULL, CO_SECRET, "makes dialback keys; unset: a random one kept in data_dir" },
	{ "xmpp_dialback_secret_file", CT_STRING, GD, NULL, 0, 0, NULL, 0, "file that holds the dialback secret" },
	{ "s2s_insecure", CT_BOOL, GD, "false", 0, 0, NULL, 0, "dialback without TLS; for tests" },
	{ "service", CT_ENUM, D, NULL, 0, 0, service_words, 0, "what lives at this name in place of accounts" },
	{ "admins", CT_LIST, GD, NULL, 0, 0, NULL, 0, "JIDs that may use administrator commands" },
	{ "gateway", CT_STRING, GD, NULL, 0, 0, NULL, 0, "connect to this host[:port] instead of asking DNS" },
	{ "routes", CT_LIST, GD, NULL, 0, 0, NULL, 0, "hosts, addresses, __srv__ or xmpp://host?port=5269&pref=1, in order" },
	{ "connect_timeout", CT_INT, GD, "30", 1, 3600, NULL, 0, "seconds to connect to one target, all its addresses together" },
	{ "happy_eyeballs_delay_ms", CT_INT, GD, "250", 10, 5000, NULL, 0, "milliseconds before the next address is tried beside one that has not answered" },
	{ "idle_timeout", CT_INT, GD, "300", 0, ANY, NULL, 0, "seconds before an idle outgoing stream is closed; 0 = never" },
	{ "max_outbound_connections", CT_INT, GD, "1", 1, 1000, NULL, 0, "parallel outgoing streams per pair of domains" },
	{ "outbound_throttle_messages", CT_THROTTLE, GD, NULL, 0, 0, NULL, 0, "stanzas sent" },
	{ "outbound_throttle_connections", CT_THROTTLE, GD, NULL, 0, 0, NULL, 0, "connects made" },
	{ "host_failure_retry", CT_INT, GD, "120", 1, ANY, NULL, 0, "seconds an address that failed comes after all others" },
	{ "retry_interval", CT_INT, GD, "5", 1, ANY, NULL, 0, "seconds before a failed stream is tried again, doubled each time" },
	{ "max_retry_interval", CT_INT, GD, "300", 1, ANY, NULL, 0, "upper end of that" },
	{ "message_expiration", CT_INT, GD, "60", 1, ANY, NULL, 0, "seconds a stanza waits for a stream" },
	{ "suspend_delivery", CT_BOOL, GD, "false", 0, 0, NULL, 0, "make no new outgoing streams" },
	{ "blackhole", CT_ENUM, GD, "false", 0, 0, blackhole_words, 0, "drop stanzas for the domain, with a log record" },
	{ "delivery_method", CT_STRING, GD, NULL, 0, 0, NULL, CO_IGNORED, "the MTA delivers mail" },
	{ "alias_schemes", CT_LIST, GD, NULL, 0, 0, NULL, CO_IGNORED, "aliases are the MTA's" },
	{ "accept_chat_from_outside", CT_BOOL, D, "false", 0, 0, NULL, 0, "stanzas of other servers to mail users become mail" },
	{ "max_upload_size", CT_SIZE, GD, "10485760", 1, ANY, NULL, 0, "service = upload: largest file" },
	{ "upload_quota", CT_SIZE, GD, "0", 0, ANY, NULL, 0, "service = upload: bytes per account; 0 = unlimited" },
	{ "upload_quota_daily", CT_SIZE, GD, "1073741824", 0, ANY, NULL, 0, "service = upload: bytes an account may upload in 24 hours; 0 = unlimited" },
	{ "upload_types", CT_LIST, GD, NULL, 0, 0, NULL, 0, "service = upload: media types taken, image/* too; unset: all" },
	{ "upload_expire", CT_INT, GD, "2592000", 0, ANY, NULL, 0, "service = upload: seconds a file is kept; 0 = for ever" },
	{ "upload_dir", CT_STRING, GD, "upload", 0, 0, NULL, 0, "service = upload: folder of the files" },
	{ "public_url", CT_STRING, GD, NULL, 0, 0, NULL, 0, "where clients reach the http_listener, as https://host:port" },
	{ "room_create", CT_ENUM, GD, "local", 0, 0, create_words, 0, "service = muc: who may make rooms" },
	{ "room_history", CT_INT, GD, "20", 0, 1000, NULL, 0, "service = muc: messages shown on joining" },
	{ "max_rooms", CT_INT, GD, "10000", 1, ANY, NULL, 0, "service = muc: rooms at once" },
	{ "max_occupants", CT_INT, GD, "1000", 1, 100000, NULL, 0, "service = muc: occupants of a room" },
	{ "proxy_host", CT_STRING, GD, NULL, 0, 0, NULL, 0, "service = proxy65: address told to clients" },
	{ "proxy_port", CT_INT, GD, "7777", 1, 65535, NULL, 0, "service = proxy65: port" },
	{ "fast_token_life", CT_INT, GD, "1814400", 0, 31536000, NULL, 0, "seconds a token to sign in without the password is valid (XEP-0484); 0 = none are given" },
	{ "proxy_listen", CT_STRING, GD, "*", 0, 0, NULL, 0, "service = proxy65: address its socket is bound to" },
	{ "proxy_streams", CT_INT, GD, "1000", 1, 100000, NULL, 0, "service = proxy65: bytestreams at once" },
	{ "proxy_idle_time", CT_INT, GD, "300", 1, 86400, NULL, 0, "service = proxy65: seconds of silence before a bytestream is closed" },
	{ "proxy_max_bytes", CT_SIZE, GD, "1073741824", 0, ANY, NULL, 0, "service = proxy65: bytes of one bytestream; 0 = unlimited" },
	{ "proxy_rate", CT_THROTTLE, GD, NULL, 0, 0, NULL, 0, "service = proxy65: bytes of one bytestream, per seconds" },
	{ "anonymous", CT_BOOL, D, "false", 0, 0, NULL, 0, "let guests in, who have an address while they are here and nothing else (XEP-0175)" },
	{ "login_throttle", CT_THROTTLE, GD, "50/600", 0, 0, NULL, 0, "failed logins from one network (IPv4 /24, IPv6 /64); more are refused unseen. By default those from this host do not count" },
	{ "account_login_throttle", CT_THROTTLE, GD, "200/3600", 0, 0, NULL, 0, "failed logins of one account from anywhere, likewise; tokens (XEP-0484) still work" },
	{ "account_self_service", CT_BOOL, GD, "true", 0, 0, NULL, 0, "users may change their password and remove their account (XEP-0077)" },
	{ "password_min_length", CT_INT, GD, "6", 1, 128, NULL, 0, "bytes a password has that a user chooses; XEP-0438 recommends 8" },
	{ "client_delegation", CT_LIST, GD, NULL, 0, 0, NULL, 0, "namespaces that a service may ask users to let it manage (XEP-0355, client mode); unset: none" },
	{ "captcha_strangers", CT_BOOL, GD, "false", 0, 0, NULL, 0, "messages and subscription requests to accounts wait until a sender the account does not know has answered a challenge (XEP-0158)" },
	{ "captcha_questions", CT_LIST, GD, NULL, 0, 0, NULL, 0, "questions of challenges beside the picture, as \"question | answer | other answer\"" },
	{ "captcha_hashcash", CT_INT, GD, "0", 0, 32, NULL, 0, "bits of SHA-256 that a client may find in place of an answer; 0 = not offered" },
	{ "captcha_life", CT_INT, GD, "180", 5, 3600, NULL, 0, "seconds a challenge can be answered" },
	{ "registration_blocked", CT_LIST, GD, "admin administrator root postmaster hostmaster webmaster abuse security support", 0, 0, NULL, 0, "names nobody may take; an invitation by name still can" },
	{ "registration_reserve", CT_INT, GD, "7776000", 0, 315360000, NULL, 0, "seconds the name of a removed account can not be taken again" },
	{ "invites", CT_ENUM, GD, "none", 0, 0, invite_words, 0, "who may invite others to an account or as a contact (XEP-0401): none, admins, users" },
	{ "invite_life", CT_INT, GD, "604800", 0, 315360000, NULL, 0, "seconds an invitation is valid; 0 = for ever" },
	{ "invite_url", CT_STRING, GD, NULL, 0, 0, NULL, 0, "page that explains an invitation, told with it; %t = its token" },
	{ "registration", CT_BOOL, GD, "false", 0, 0, NULL, 0, "anyone may make an account (XEP-0077)" },
	{ "registration_captcha", CT_BOOL, GD, "false", 0, 0, NULL, 0, "who makes an account without an invitation must answer a challenge (XEP-0158)" },
	{ "registration_throttle", CT_THROTTLE, GD, "3/3600", 0, 0, NULL, 0, "accounts made per address" },
	{ "node_create", CT_ENUM, GD, "local", 0, 0, create_words, 0, "service = pubsub: who may make nodes" },
	{ "pubsub_max_nodes", CT_INT, GD, "1000", 1, 1000000, NULL, 0, "nodes of one account (PEP), or of a service" },
	{ "pubsub_max_items", CT_INT, GD, "10000", 1, 1000000, NULL, 0, "items a node may be configured to keep: what max_items = max means" },
	{ "pubsub_max_item_size", CT_SIZE, GD, "262144", 1024, 16777216, NULL, 0, "bytes of one published item; see max_stanza_size too" },
	{ "pubsub_max_subscriptions", CT_INT, GD, "10000", 1, 1000000, NULL, 0, "subscriptions of one node" },
	{ "pubsub_multi_subscribe", CT_BOOL, GD, "false", 0, 0, NULL, 0, "an address may subscribe to a node several times; each subscription has an id" },
	{ "pubsub_quota", CT_SIZE, GD, "67108864", 0, ANY, NULL, 0, "bytes of all items of one account, or of a service; 0 = unlimited" },
	{ "private_quota", CT_SIZE, GD, "1048576", 1024, ANY, NULL, 0, "bytes of private XML of one account (XEP-0049)" },
	{ "max_vcard_size", CT_SIZE, GD, "262144", 1024, 16777216, NULL, 0, "bytes of a vCard with its photo" },
	{ "serverinfo", CT_BOOL, GD, "false", 0, 0, NULL, 0, "publish what this server is at its pubsub service (XEP-0485)" },
	{ "public_vcards", CT_BOOL, GD, "true", 0, 0, NULL, 0, "anyone may read vCards" },
	{ "archive", CT_BOOL, GD, "true", 0, 0, NULL, 0, "keep messages for XEP-0313" },
	{ "archive_expire", CT_INT, GD, "2592000", 0, ANY, NULL, 0, "seconds a message is kept; 0 = for ever" },
	{ "hide_version", CT_BOOL, GD, "false", 0, 0, NULL, 0, "do not tell name and version of the software" },
	{ "uri", CT_LIST, CS_CONTACT, NULL, 0, 0, NULL, 0, "addresses of the contact (XEP-0157)" },
	{ "type", CT_STRING, CS_EXTERNAL_SERVICE, NULL, 0, 0, NULL, 0, "stun, turn, turns, ... (XEP-0215)" },
	{ "transport", CT_ENUM, CS_EXTERNAL_SERVICE, NULL, 0, 0, transport_words, 0, "udp or tcp" },
	{ "host", CT_STRING, CS_EXTERNAL_SERVICE, NULL, 0, 0, NULL, 0, "host name or address" },
	{ "port", CT_INT, CS_EXTERNAL_SERVICE, NULL, 1, 65535, NULL, 0, "port; unset: the default of the type" },
	{ "secret", CT_STRING, CS_EXTERNAL_SERVICE, NULL, 0, 0, NULL, CO_SECRET, "shared secret for credentials made per user" },
	{ "username", CT_STRING, CS_EXTERNAL_SERVICE, NULL, 0, 0, NULL, 0, "fixed user name" },
	{ "password", CT_STRING, CS_EXTERNAL_SERVICE, NULL, 0, 0, NULL, CO_SECRET, "fixed password" },
	{ "lifetime", CT_INT, CS_EXTERNAL_SERVICE, "86400", 60, ANY, NULL, 0, "seconds that credentials made per user are valid" },
	{ "secret", CT_STRING, CS_COMPONENT, NULL, 0, 0, NULL, CO_SECRET, "handshake secret (XEP-0114)" },
	{ "secret_file", CT_STRING, CS_COMPONENT, NULL, 0, 0, NULL, 0, "file that holds the secret" },
	{ "subdomains", CT_BOOL, CS_COMPONENT, "false", 0, 0, NULL, 0, "the component serves, and speaks for, the domains below its name too" },
	{ "serves", CT_LIST, CS_COMPONENT, NULL, 0, 0, NULL, 0, "hosted domains its privileges hold for; unset: the one it is below" },
	{ "privilege_roster", CT_ENUM, CS_COMPONENT, "none", 0, 0, access_words, 0, "it may read or change the rosters of accounts (XEP-0356)" },
	{ "privilege_roster_push", CT_BOOL, CS_COMPONENT, "true", 0, 0, NULL, 0, "it is told of changes of rosters it may read" },
	{ "privilege_message", CT_ENUM, CS_COMPONENT, "none", 0, 0, outgoing_words, 0, "it may send messages in the name of accounts" },
	{ "privilege_presence", CT_ENUM, CS_COMPONENT, "none", 0, 0, tap_words, 0, "it sees the presence of accounts, or that of their contacts too" },
	{ "privilege_iq", CT_DICT, CS_COMPONENT, NULL, 0, 0, NULL, 0, "[ namespace = get|set|both ]: requests it may make in the name of accounts" },
	{ "delegate", CT_DICT, CS_COMPONENT, NULL, 0, 0, NULL, 0, "[ namespace = attributes ]: requests it answers in place of the server (XEP-0355); with attributes, blank-separated, only those that have them" },

	/* ---- xmpp {} ---- */
	{ "max_stanza_size", CT_SIZE, X | XL | HL | N | P, "262144", 10000, 16777216, NULL, 0, "largest stanza of an authenticated stream" },
	{ "max_stanza_size_unauth", CT_SIZE, X | XL | HL | N | P, "65536", 10000, 16777216, NULL, 0, "largest stanza before authentication" },
	{ "max_depth", CT_INT, X | XL | HL | N | P, "100", 8, 1000, NULL, 0, "elements inside each other" },
	{ "negotiation_timeout", CT_INT, X | XL | HL | N | P, "60", 1, 3600, NULL, 0, "seconds from connect to the end of stream negotiation" },
	{ "resource_conflict", CT_ENUM, X | D, "replace", 0, 0, conflict_words, 0, "a second session asks for the same resource" },
	{ "sm_resume_timeout", CT_INT, X | D, "600", 0, 86400, NULL, 0, "seconds a broken stream can be resumed (XEP-0198)" },
	{ "sm_max_queue", CT_INT, X | D, "2000", 10, 1000000, NULL, 0, "stanzas kept for a broken stream" },
	{ "sm_max_queue_size", CT_SIZE, X | D, "16777216", 65536, ANY, NULL, 0, "memory of the stanzas kept for a broken stream" },
	{ "ack_policy", CT_ENUM, X | D, "stored", 0, 0, ack_words, 0, "when a message is acked: safe on disk, or merely handled" },
	{ "offline_messages", CT_BOOL, X | D, "true", 0, 0, NULL, 0, "keep messages for accounts that are offline" },
	{ "max_resources", CT_INT, X | D, "20", 1, 1000, NULL, 0, "sessions of one account" },
	{ "max_roster", CT_INT, X | D, "5000", 1, 1000000, NULL, 0, "contacts of one account" },
	{ "max_addresses", CT_INT, X | D, "50", 1, 1000, NULL, 0, "recipients of one stanza (XEP-0033)" },
	{ "stanza_rate", CT_THROTTLE, X | XL | HL | N | P, "100", 0, 0, NULL, 0, "stanzas of one session; faster ones wait" },
	{ "byte_rate", CT_THROTTLE, X | XL | HL | N | P, "1048576", 0, 0, NULL, 0, "bytes of one session; faster ones wait" },
	{ "ping_interval", CT_INT, X | XL | HL | N | P, "300", 0, 86400, NULL, 0, "seconds of silence before a ping (XEP-0199); 0 = never" },
	{ "ping_timeout", CT_INT, X | XL | HL | N | P, "60", 1, 3600, NULL, 0, "seconds a ping may stay unanswered" },
	{ "max_write_queue", CT_SIZE, X | XL | HL | N | P, "8388608", 65536, ANY, NULL, 0, "bytes that may wait for a slow reader before it is cut off" },
	{ "max_s2s_queue", CT_INT, X, "1000", 1, 1000000, NULL, 0, "stanzas that may wait for a stream to one domain" },

	/* ---- http_listener ---- */
	{ "max_request_size", CT_SIZE, HL | N, "1048576", 1024, ANY, NULL, 0, "largest request body that is no upload" },
	{ "cors_origins", CT_LIST, HL | N, "*", 0, 0, NULL, 0, "web origins that may use the listener" },
	{ "bosh_max_wait", CT_INT, HL | N, "60", 1, 600, NULL, 0, "seconds a BOSH request may be held" },
	{ "plain_discovery", CT_BOOL, HL | N, "false", 0, 0, NULL, 0, "serve /.well-known/host-meta without TLS too, for a proxy that adds it" },
	{ "metrics", CT_BOOL, HL | N | P, "false", 0, 0, NULL, 0, "serve /metrics; loopback always may" },

	/* ---- mail {} ---- */
	{ "submit", CT_STRING, CS_MAIL, "smtp://127.0.0.1:25", 0, 0, NULL, 0, "where mail made from chat goes: smtp:// smtps:// lmtp://" },
	{ "submit_tls", CT_ENUM, CS_MAIL, "ifavailable", 0, 0, tls_words, 0, "STARTTLS towards that host" },
	{ "submit_ca", CT_STRING, CS_MAIL, NULL, 0, 0, NULL, 0, "CA bundle for that host; unset: the system's" },
	{ "submit_user", CT_STRING, CS_MAIL, NULL, 0, 0, NULL, 0, "user name for SMTP AUTH" },
	{ "submit_password", CT_STRING, CS_MAIL, NULL, 0, 0, NULL, CO_SECRET, "password for SMTP AUTH" },
	{ "submit_password_file", CT_STRING, CS_MAIL, NULL, 0, 0, NULL, 0, "file that holds it" },
	{ "submit_timeout", CT_INT, CS_MAIL, "300", 1, 3600, NULL, 0, "seconds for one transaction" },
	{ "submit_connections", CT_INT, CS_MAIL, "4", 1, 256, NULL, 0, "connections at once" },
	{ "retry_interval", CT_INT, CS_MAIL, "60", 1, ANY, NULL, 0, "seconds before the first retry, doubled each time" },
	{ "max_retry_interval", CT_INT, CS_MAIL, "3600", 1, ANY, NULL, 0, "upper end of that" },
	{ "message_expiration", CT_INT, CS_MAIL, "432000", 60, ANY, NULL, 0, "seconds before unsent mail goes back as an error" },
	{ "max_size", CT_SIZE, CS_MAIL, "10485760", 1024, ANY, NULL, 0, "largest mail made" },
	{ "gateway_domain", CT_STRING, CS_MAIL, NULL, 0, 0, NULL, 0, "chat domain where user\\40example.com stands for a mail address" },
	{ "from_domain", CT_DICT, CS_MAIL, NULL, 0, 0, NULL, 0, "[ chat-domain = mail-domain ]: sender domain of mail made from chat" },
	{ "domains", CT_LIST, CS_MAIL, NULL, 0, 0, NULL, 0, "domains where an unknown account is a mail address; unset: hosted plain names" },
	{ "subject", CT_STRING, CS_MAIL, "Chat message from %f", 0, 0, NULL, 0, "subject of mail made from chat without one; %f = sender" },
	{ "collect", CT_INT, CS_MAIL, "0", 0, 86400, NULL, 0, "seconds of silence before the lines of one chat go out as one mail; 0: each line is a mail at once" },
	{ "rate", CT_THROTTLE, CS_MAIL, "60/3600", 0, 0, NULL, 0, "mails of one account" },
	{ "correspondent_rate", CT_THROTTLE, CS_MAIL, "20/3600", 0, 0, NULL, 0, "mails of one account to one address" },
	{ "max_recipients", CT_INT, CS_MAIL, "20", 1, 1000, NULL, 0, "recipients a script may give one mail" },
	{ "max_hops", CT_INT, CS_MAIL, "10", 1, 100, NULL, 0, "crossings between mail and chat before a message is a loop" },
	{ "max_chat_body", CT_SIZE, CS_MAIL, "10240", 256, 1048576, NULL, 0, "longest chat body made from mail, unless the script says otherwise" },

	/* ---- milter {} ---- */
	{ "on_fault", CT_ENUM, CS_MILTER, "tempfail", 0, 0, fault_words, 0, "verdict when a step breaks" },
	{ "max_body", CT_SIZE, CS_MILTER, "16777216", 0, ANY, NULL, 0, "bytes of a mail that are kept for scripts" },
	{ "commit_timeout_ms", CT_INT, CS_MILTER, "5000", 10, 600000, NULL, 0, "how long end of message waits for the store" },
	{ "milter_timeout", CT_INT, CS_MILTER, "7210", 10, 86400, NULL, CO_RESTART, "seconds of silence of the MTA" },
	{ "max_data_size", CT_SIZE, CS_MILTER, "1048576", 65535, 16777216, NULL, CO_RESTART, "largest packet of the MTA" },
	{ "dedup_life", CT_INT, CS_MILTER, "86400", 60, ANY, NULL, 0, "seconds a converted mail is remembered" },

	/* ---- store {} ---- */
	{ "path", CT_STRING, CS_STORE, "tandem.db", 0, 0, NULL, CO_RESTART, "database file" },
	{ "readers", CT_INT, CS_STORE, "2", 1, 64, NULL, CO_RESTART, "reader threads" },
	{ "busy_ms", CT_INT, CS_STORE, "5000", 0, 600000, NULL, CO_RESTART, "how long a locked file is waited for" },
	{ "max_offline", CT_INT, CS_STORE, "1000", 0, 1000000, NULL, CO_RESTART, "offline messages of one account" },

	/* ---- logs ---- */
	{ "logfile", CT_STRING, CS_XMPP_LOGGER, "xmpplog.ec", 0, 0, NULL, 0, "file" },
	{ "logmode", CT_MODE, CS_XMPP_LOGGER, "0640", 0, 0, NULL, 0, "mode of the file" },
	{ "log_reception", CT_BOOL, CS_XMPP_LOGGER, "true", 0, 0, NULL, 0, "write a record per stanza received" },
	{ "log_delivery", CT_BOOL, CS_XMPP_LOGGER, "true", 0, 0, NULL, 0, "write a record per stanza delivered" },
	{ "log_reception_format", CT_STRING, CS_XMPP_LOGGER, "%t+R+%st+%at+%af+%ai+%ay+%H", 0, 0, NULL, 0, "record of a stanza received" },
	{ "log_delivery_format", CT_STRING, CS_XMPP_LOGGER, "%t+D+%st+%at+%af+%ai+%ay+%H", 0, 0, NULL, 0, "record of a stanza delivered" },
	{ "log_heartbeat_format", CT_STRING, CS_XMPP_LOGGER, "%t+M", 0, 0, NULL, 0, "heartbeat record" },
	{ "log_content", CT_BOOL, CS_XMPP_LOGGER, "false", 0, 0, NULL, 0, "allow %sr, which shows what people write" },
	{ "namespace", CT_STRING, CS_XMPP_LOGGER, "xmpp_logger,sieve,custom_logger", 0, 0, NULL, CO_IGNORED, "all macros are known" },
	{ "thread_pool", CT_STRING, CS_XMPP_LOGGER | CS_EC_LOGGER, NULL, 0, 0, NULL, CO_IGNORED, "a record is one write" },
	{ "concurrency", CT_INT, CS_XMPP_LOGGER | CS_EC_LOGGER, "1", 0, ANY, NULL, CO_IGNORED, "a record is one write" },
	{ "heartbeat", CT_INT, CS_XMPP_LOGGER | CS_EC_LOGGER, "60", 0, 86400, NULL, 0, "seconds between heartbeat records; 0 = none" },
	{ "mainlog", CT_STRING, CS_EC_LOGGER, NULL, 0, 0, NULL, 0, "records of mail; a path or syslog://?facility=mail" },
	{ "paniclog", CT_STRING, CS_EC_LOGGER, NULL, 0, 0, NULL, 0, "errors" },
	{ "rejectlog", CT_STRING, CS_EC_LOGGER, NULL, 0, 0, NULL, 0, "refusals" },
	{ "acctlog", CT_STRING, CS_EC_LOGGER, NULL, 0, 0, NULL, 0, "logins and console commands" },
	{ "importlog", CT_STRING, CS_EC_LOGGER, NULL, 0, 0, NULL, CO_IGNORED, "nothing is imported from a spool" },
	{ "mainlog_mode", CT_MODE, CS_EC_LOGGER, "0640", 0, 0, NULL, 0, "mode of the file" },
	{ "paniclog_mode", CT_MODE, CS_EC_LOGGER, "0640", 0, 0, NULL, 0, "mode of the file" },
	{ "rejectlog_mode", CT_MODE, CS_EC_LOGGER, "0640", 0, 0, NULL, 0, "mode of the file" },
	{ "acctlog_log_mode", CT_MODE, CS_EC_LOGGER, "0640", 0, 0, NULL, 0, "mode of the file" },
	{ "importlog_mode", CT_MODE, CS_EC_LOGGER, "0640", 0, 0, NULL, CO_IGNORED, "see importlog" },
	{ "log_receptions", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records of receptions in mainlog" },
	{ "log_deliveries", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records of deliveries in mainlog" },
	{ "log_transient_failures", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records of transient failures in mainlog" },
	{ "log_permanent_failures", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records of permanent failures in mainlog" },
	{ "log_rejections", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records in rejectlog" },
	{ "log_errors", CT_BOOL, CS_EC_LOGGER, "true", 0, 0, NULL, 0, "records in paniclog" },
	{ "debug", CT_LIST, CS_DEBUG_FLAGS, NULL, 0, 0, debug_words, 0, "subsystems whose debug lines are written" },
	{ "info", CT_LIST, CS_DEBUG_FLAGS, NULL, 0, 0, debug_words, 0, "subsystems whose info lines are written" },
	{ "notice", CT_LIST, CS_DEBUG_FLAGS, NULL, 0, 0, debug_words, 0, "subsystems whose notice lines are written" },
	{ "warning", CT_LIST, CS_DEBUG_FLAGS, NULL, 0, 0, debug_words, 0, "subsystems whose warnings are written" },
	{ "error", CT_LIST, CS_DEBUG_FLAGS, "ALL", 0, 0, debug_words, 0, "subsystems whose errors are written" },
	{ "critical", CT_LIST, CS_DEBUG_FLAGS, "ALL", 0, 0, debug_words, 0, "subsystems whose critical errors are written" },

	/* ---- scripts ---- */
	{ "source", CT_STRING, CS_SCRIPT, NULL, 0, 0, NULL, 0, "module: a.b is the file a/b.lua" },
	{ "script_path", CT_LIST, G | CS_SCRIPTLET, NULL, 0, 0, NULL, 0, "folders searched for scripts, after the folder of the config file" },
	{ "lua_compat", CT_BOOL, SC, "false", 0, 0, NULL, 0, "accept Momentum's Lua dialect (!= unpack ...)" },
	{ "lua_memory", CT_SIZE, SC, "33554432", 1048576, ANY, NULL, 0, "bytes one Lua state may hold" },
	{ "lua_instructions", CT_INT, SC, "10000000", 1000, ANY, NULL, 0, "instructions one call may take" },
	{ "lua_time_ms", CT_INT, SC, "200", 1, 600000, NULL, 0, "time one call may take, waiting not counted" },
	{ "lua_error_action", CT_ENUM, SC, "tempfail", 0, 0, lua_fault_words, 0, "verdict when a script raises or overruns" },
	{ "lua_unsafe", CT_BOOL, SC, "false", 0, 0, NULL, 0, "give scripts io, os.execute, package.loadlib and debug" },
	{ "gc_pause", CT_INT, CS_SCRIPTLET, "200", 0, 1000, NULL, 0, "Lua collector: pause" },
	{ "gc_stepmul", CT_INT, CS_SCRIPTLET, "200", 0, 1000, NULL, 0, "Lua collector: step multiplier" },
	{ "script_ttl", CT_INT, CS_SCRIPTLET, "300", 0, ANY, NULL, CO_IGNORED, "scripts are loaded with the configuration" },
	{ "always_gc", CT_BOOL, CS_SCRIPTLET, "false", 0, 0, NULL, CO_IGNORED, "obsolete" },
	{ "reap_interval", CT_INT, CS_SCRIPTLET, "120", 0, ANY, NULL, CO_IGNORED, "there are no spare Lua threads" },
	{ "max_spare_per_master", CT_INT, CS_SCRIPTLET, "5000", 0, ANY, NULL, CO_IGNORED, "there are no spare Lua threads" },
	{ "uri", CT_LIST, CS_DATASOURCE, NULL, 0, 0, NULL, 0, "drivers and their parameters: sqlite:/path" },
	{ "cache_life", CT_INT, CS_DATASOURCE, "3600", 0, ANY, NULL, 0, "seconds a result is remembered" },
	{ "cache_size", CT_INT, CS_DATASOURCE, "1000", 0, 1000000, NULL, 0, "results remembered" },
	{ "max_rows", CT_INT, CS_DATASOURCE, "100", -1, 1000000, NULL, 0, "rows of a result; -1 = unlimited" },
	{ "no_cache", CT_BOOL, CS_DATASOURCE, "false", 0, 0, NULL, 0, "remember no results" },
	{ "serialized", CT_BOOL, CS_DATASOURCE, "true", 0, 0, NULL, CO_IGNORED, "there is no cluster" },
	{ "assume_charset", CT_STRING, CS_DATASOURCE, NULL, 0, 0, NULL, CO_IGNORED, "text is UTF-8" },
	{ "pool", CT_STRING, CS_DATASOURCE, NULL, 0, 0, NULL, CO_IGNORED, "queries run in the job threads" },

	/* ---- modules, threads, privileges ---- */
	{ "enabled", CT_BOOL, X | CS_XMPP_LOGGER | CS_EC_LOGGER | SC | CS_MAIL | CS_MILTER, "true", 0, 0, NULL, 0, "false: the stanza is read, the module does nothing" },
	{ "debug_level", CT_ENUM, G | X | CS_XMPP_LOGGER | CS_EC_LOGGER | CS_SCRIPTLET | CS_MAIL | CS_MILTER | CS_STORE, NULL, 0, 0, debug_levels, 0, "how much this module logs; unset: log_level" },
	{ "concurrency", CT_INT, CS_THREADPOOL, NULL, 0, 1024, NULL, CO_IGNORED, "there are no pools; see workers, and readers of store" },
	{ "backlog", CT_INT, CS_THREADPOOL, "0", 0, ANY, NULL, CO_IGNORED, "there are no pools" },
	{ "stack_size", CT_SIZE, CS_THREADPOOL, "0", 0, 1073741824, NULL, CO_IGNORED, "there are no pools" },
	{ "user", CT_STRING, CS_SECURITY, "tandem", 0, 0, NULL, CO_RESTART, "user to become when started as root" },
	{ "group", CT_STRING, CS_SECURITY, NULL, 0, 0, NULL, CO_RESTART, "group to become; unset: that of the user" },
	{ "supplemental_groups", CT_LIST, CS_SECURITY, NULL, 0, 0, NULL, CO_RESTART, "more groups" },
	{ "chroot", CT_STRING, CS_SECURITY, NULL, 0, 0, NULL, CO_RESTART | CO_NONE, "folder to be confined to" },
	{ "capabilities", CT_STRING, CS_SECURITY, NULL, 0, 0, NULL, CO_RESTART, "capabilities to keep, as cap_net_bind_service+ep" },
	{ "privileges", CT_STRING, CS_SECURITY, NULL, 0, 0, NULL, CO_IGNORED, "Solaris only" },
	{ "seccomp", CT_BOOL, CS_SECURITY, "false", 0, 0, NULL, CO_IGNORED, "the service manager filters system calls (SystemCallFilter=)" },
	{ NULL, CT_STRING, 0, NULL, 0, 0, NULL, 0, NULL },
};
// clang-format on
