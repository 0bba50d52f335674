"""Credit assignment against loops written with explicit matrix algebra."""
