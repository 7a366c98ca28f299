"""One folder per way to decide where a defect is, or whether there is one."""
