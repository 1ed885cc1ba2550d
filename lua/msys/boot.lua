-- msys.boot - a name of old configurations; nothing is left to do.
return true
