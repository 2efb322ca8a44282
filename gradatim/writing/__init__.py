"""The model as a writer: what it puts down about a passage when it has the passage in view."""
