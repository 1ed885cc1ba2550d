-- strict - scripts here have globals of their own; the name is kept.
return true
