"""Clean text to ids and back: byte, character and byte-level BPE tokenizers behind one protocol."""
