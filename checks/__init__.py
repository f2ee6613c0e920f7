"""quest-integrity: the thin runner around PeerQuest's integrity layer, which itself lives in PostgreSQL."""
