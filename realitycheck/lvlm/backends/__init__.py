"""Ways to put a question: Google's services, OpenAI-compatible servers, a ledger alone."""
