"""What sounds in a recording, one by one: classes and times of the mixture and of its channels."""
