"""One command a figure; each compares with a named peer in the same run and says what it was meant to reach."""
