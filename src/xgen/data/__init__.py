"""From public packages to rows: documents with their licences, cleaned, counted, tokenized, packed."""
