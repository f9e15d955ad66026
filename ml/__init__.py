"""What runs inside the ML image: features, training, evaluation, serving and the drift monitor.

The model answers how likely a flight is to arrive more than 15 minutes late. One module, one thing:

features   curated Parquet -> training and held-out rows, encoder, baseline of the monitor   (processing job)
train      training rows -> ONNX model and encoder                                          (training job)
evaluate   model and held-out rows -> evaluation.json                                       (processing job)
serve      the model behind GET /ping and POST /invocations                                 (endpoint)
drift      captured requests against the baseline of the serving model                      (processing job)

They share contract, schema, encoder, requests and model; drift also captured, distributions, baseline and violations.
Nothing here knows of CDK or of the pipelines that start it; the paths and file formats are SageMaker's.
"""
