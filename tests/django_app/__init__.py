"""A small Django project that writes to PeerQuest's tables the way PeerQuest does.

It is a test double: what matters is not the features but the habits, such as whole-row saves from instances
that went stale, hard deletes with signals, and one transaction per statement.
"""
