"""SageMaker pipeline definitions as plain dicts: the stacks fill them in, and no SDK is needed to write them.

Format: aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema
"""
