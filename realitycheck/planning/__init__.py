"""What the workflow asks while it plans: files, digests, resources, costs, sample sizes."""
