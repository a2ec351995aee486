"""Text: documents with places, tokens, chat."""
