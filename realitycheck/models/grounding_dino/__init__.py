"""GroundingDINO."""
