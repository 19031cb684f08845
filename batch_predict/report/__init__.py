"""The report of a run as a page, and whether its columns have drifted. Knows no terminal."""
