-- msys.extended - message, vctx, ac and message_routing are there from the start.
return {}
