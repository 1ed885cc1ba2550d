-- msys.xmpp.presence - roster and presence are built into the server; the name is kept.
return true
