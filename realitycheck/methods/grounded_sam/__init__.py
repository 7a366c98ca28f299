"""GroundingDINO's boxes prompt SAM."""
