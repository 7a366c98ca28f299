"""SAM with a mask decoder fine-tuned on the product."""
