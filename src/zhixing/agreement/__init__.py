"""知行合一: the table that pairs every formula in ``theory`` with the code that runs it, and what runs the
table."""
