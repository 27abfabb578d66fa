"""The model of a table: fitting, scoring, sampling and calibration of rows."""
