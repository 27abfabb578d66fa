"""What unlabelled rows add to a classifier."""
