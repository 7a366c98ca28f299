"""What the jobs of each stage do: read artifacts, call methods, write artifacts."""
