-- msys.extended.ac - its methods are there from the start.
return true
