"""Reading documents: what fits, what is read, answers, quotations, summaries."""
