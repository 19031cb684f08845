"""Which part of the flights the tests score, and with which columns."""

ROWS = 50_000
NUMBERS = ["month", "dep_time", "dep_delay", "distance"]
TEXTS = ["carrier", "origin", "dest"]
FEATURES = NUMBERS + TEXTS
