"""Loss functions as pure functions on tensors."""
