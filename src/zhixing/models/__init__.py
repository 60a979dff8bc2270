"""One file per model family, in reading order: settings, parts, model. All language models share one protocol."""
