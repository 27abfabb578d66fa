"""What the labels say of all rows: held-out folds, class shares, shift, temperature."""
