"""The density as a classifier of data against noise."""
