"""The demo: one year of real flights through the deployed platform, and a report of what came out."""
