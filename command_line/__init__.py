"""What the commands for a deployment share."""
