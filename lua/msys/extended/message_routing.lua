-- msys.extended.message_routing - its methods are there from the start.
return true
