"""Models to and from other programs' formats, each time with a report of whether both compute the same."""
