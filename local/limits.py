"""What the local cloud does not do, said in every report."""

NOT_EMULATED = (
    "Containers and Lambda functions run on this machine's Python and packages, whatever image or runtime they name: "
    "of a Dockerfile, COPY and ENV count and RUN does not.",
    "The roles of Lambda functions and bucket policies are enforced; those of other services, and KMS permissions, "
    "are stored and not enforced. Bucket policies do not see the KMS key a request names: one that names the bucket's "
    "own is refused, one without encryption headers is not.",
    "Network, encryption at rest and flow logs are stored and not carried out: traffic stays on the loopback device.",
    "Managed Flink's application starts and stops in name alone, and its package is not built: a test runs the same "
    "job on Flink's own mini-cluster. A function reads a stream as in AWS, tried again after shorter waits; a shard's "
    "parallel batches come one after the other, and a reshard's new shards do not wait for the old.",
    "Firehose delivers early once its stream has been read to the end; AWS waits for the whole buffering interval.",
    "Scheduled jobs wait for their time, and no schedule starts a Glue job: the demo starts the drift monitor itself.",
    "S3 lifecycle rules, access logging and ownership are not stored, nor a table's expiry and recovery; instance "
    "types, quotas and prices have no effect; an alarm sees its metric under any dimensions.",
    "What a request asks beyond what the stacks use is refused by name rather than ignored: several variants, traffic "
    "shifting, data capture by the endpoint itself, Glue triggers but for a workflow's events, Athena's DDL.",
)
