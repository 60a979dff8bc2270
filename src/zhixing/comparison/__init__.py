"""Several models, one text, one tokenizer, one budget: which to choose?"""
