"""Raw text to clean text: find files, decode them, split them into documents. Strings, streaming."""
