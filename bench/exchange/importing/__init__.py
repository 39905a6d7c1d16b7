"""Results of other tools, read into rows that are judged and reported like our own."""
