"""What is done after a training: `ganforge COMMAND`."""
