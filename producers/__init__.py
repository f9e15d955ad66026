"""Sends the flights and the weather of 2013 as real producers do: in order, batched, a few damaged; and sends again."""
