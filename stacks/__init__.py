"""One file per layer, in the order data flows: foundation, lake, streams, ETL, training, serving, monitoring."""
