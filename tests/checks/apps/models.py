"""Another app that uses the pack: two models outside a VPC in a stage, of which one is accepted, and a log group."""

import sys

from aws_cdk import Acknowledgment, App, Stack, Stage, Validations
from aws_cdk.aws_logs import CfnLogGroup
from aws_cdk.aws_sagemaker import CfnModel

from checks.plugin import DataAndMlChecks

ROLE = "arn:aws:iam::111122223333:role/model"

app = App()
stack = Stack(Stage(app, "test"), "models")
accepted = CfnModel(stack, "Accepted", execution_role_arn=ROLE, enable_network_isolation=True)
Validations.of(accepted).acknowledge(
    Acknowledgment(id="DataAndMl::sagemaker-model-vpc", reason="isolated: it has no network that a VPC could hold")
)
if "open" in sys.argv:
    CfnModel(stack, "Open", execution_role_arn=ROLE, enable_network_isolation=True)
CfnLogGroup(stack, "Forever")  # of low severity: a warning
Validations.of(app).add_plugins(DataAndMlChecks())
app.synth()
