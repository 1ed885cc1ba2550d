-- msys.extended.vctx - its methods are there from the start.
return true
