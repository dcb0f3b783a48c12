"""Put first into the path of every Python process of a test run."""
