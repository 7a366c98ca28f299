"""What a system, or people, said elsewhere: masks, score maps or verdicts from files."""
