"""What a record has to be to count as an event, for everything that reads records: events.py says it, reader.py judges.

The standard library alone, as Python 3.11 and later have it: Lambda functions and Flink jobs take this folder along.
"""
