"""Which parts of the classifier to believe, by held-out labels and the table."""
