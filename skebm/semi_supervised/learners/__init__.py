"""Simple classifiers beside the nets: linear models, trees, clusters."""
