"""SAA+: GroundingDINO and SAM, re-ranked by image saliency."""
