"""What does not depend on a prompt: computed once per image and cached."""
