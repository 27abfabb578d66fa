"""Metrics of classifiers, detectors and densities."""
