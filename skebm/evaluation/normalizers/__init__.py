"""Estimators of log Z."""
