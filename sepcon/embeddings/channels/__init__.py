"""What is learned of the embeddings of a separator's channels."""
