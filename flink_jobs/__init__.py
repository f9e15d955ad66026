"""Jobs for Managed Service for Apache Flink, a folder each: what goes into the job's package, and nothing else."""
