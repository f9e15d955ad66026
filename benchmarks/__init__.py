"""One module a command; its figures are held against named peers in the same run where there are any, and to a goal."""
