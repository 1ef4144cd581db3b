"""Models that cartag ships (`mini`), and how they are made (`recipe`)."""
