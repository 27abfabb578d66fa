"""Accuracy of classifiers on rows that an adversary moves."""
