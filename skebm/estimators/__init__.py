"""The estimators, behind scikit-learn's interface."""
