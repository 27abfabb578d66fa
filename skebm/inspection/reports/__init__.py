"""The parts of a report on a density."""
