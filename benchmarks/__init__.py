"""Protocol, training engine, records, leaderboards."""
