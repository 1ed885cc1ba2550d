-- tandem.affiliation - what our accounts are to us, told to whom we trust (XEP-0489, version 0.1.0).
--
-- Options: admins, members (lists of accounts), trusted (other servers that are told).
local NS = "urn:xmpp:raa:0"

local function set_of(option)
	local set = {}
	for _, value in ipairs(script:list(option)) do
		set[value] = true
	end
	return set
end
local admins, members, trusted = set_of("admins"), set_of("members"), set_of("trusted")

-- A registered account is trusted the more, the more people agreed to see each other's presence.
local function trust(account)
	local n = 0
	for _, jid in ipairs(account:contacts()) do
		if account:contact(jid).subscription == "both" then
			n = n + 10
		end
	end
	return string.format("%d", math.min(n, 100))
end

local function info(account)
	local jid, node = account:jid():bare(), xml.newnode("info", NS)
	if account:anonymous() then
		node:attr("affiliation", "anonymous")
	elseif admins[jid] or members[jid] then
		node:attr("affiliation", admins[jid] and "admin" or "member")
	else
		node:attr("affiliation", "registered")
		node:attr("trust", trust(account))
	end
	return node
end

-- Our own domains, and the servers in the list.
local function is_trusted(domain)
	local d = tandem.domain(domain)
	return trusted[domain] or (d ~= nil and (d.kind == "local" or d.kind == "service"))
end

-- Anybody else gets what one who asks for an account that does not exist gets.
tandem.register_iq(NS, { to = "account", type = "get", name = "query", feature = false }, function(iq)
	local contact = iq.account:contact(iq.from:bare())
	if is_trusted(iq.from:domain()) or (contact and contact.subscription:find("[fb]")) then
		return info(iq.account)
	end
end)
tandem.register_feature(NS)
tandem.register_feature(NS .. "#embed-presence-sub")

tandem.register {
	client_presence_recv = function(self, sess, stanza)
		if stanza:attr("type") ~= "subscribe" then
			return
		end
		for child in stanza:children() do
			if child:name() == "info" and child:ns() == NS then
				child:unlink() -- only the server says this
			end
		end
		local to = tandem.jid(stanza:attr("to") or "")
		if to and is_trusted(to:domain()) then
			stanza:addchild(info(sess:account()))
		end
	end,
}
