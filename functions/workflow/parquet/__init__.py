"""The footers of Parquet files: read, compared, and joined into the footer of one file."""
