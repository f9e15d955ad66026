"""Rules and proofs over any synthesized cloud assembly: `python -m checks cdk.out`."""
