"""The slope of log p, which needs no Z."""
