"""xgen: long documents, read on your own hardware."""
