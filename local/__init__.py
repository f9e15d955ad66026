"""The local cloud: the platform's own stacks, deployed and run on this machine."""
