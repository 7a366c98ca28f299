"""The settings of a run: reading, checking, JSON schema."""
