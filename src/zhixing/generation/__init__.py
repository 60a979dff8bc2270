"""From next-token probabilities to text: filters, sampling, stop rules, streaming decoder, batches."""
