"""What is in a traced graph: its operations and their arithmetic."""
