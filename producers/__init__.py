"""Sends the flights of 2013 into the stream as a real producer does: in order, batched, a few damaged."""
