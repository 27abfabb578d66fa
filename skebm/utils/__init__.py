"""Floor 0: what every floor may use and which knows none of them."""
