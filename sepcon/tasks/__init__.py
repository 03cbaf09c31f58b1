"""What is learned: each task turns a batch into losses, all on one training loop."""
