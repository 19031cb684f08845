"""What a run is: the request that starts it, its execution as it goes, and its history."""
