"""How good is a model, honestly: perplexity and bits per byte on held-out documents, beside yardsticks."""
