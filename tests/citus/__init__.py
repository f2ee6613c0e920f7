"""The layer on a Citus cluster: see docs/citus.md. Skipped without QUEST_INTEGRITY_CITUS_URL."""
