"""What people came for: a question in, an answer out, by a model that is there already."""
