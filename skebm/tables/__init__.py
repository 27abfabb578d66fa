"""Tables of users, encoded as standardised rows and decoded again."""
