"""What every stack shares: where it is deployed, and how its options are validated."""

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Environment, Fn, RemovalPolicy, Stack
from constructs import Construct
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]


class Options(BaseModel):
    """Base of every options class: an unknown, missing or wrong option is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Deployment:
    """One installation of the platform: names start with `prefix`, data outlives the stacks when `retain`.

    `availability_zones` names those to use; empty stands for the region's first three.
    """

    prefix: str
    account: str
    region: str
    retain: bool
    availability_zones: tuple[str, ...] = ()

    @property
    def removal_policy(self) -> RemovalPolicy:
        return RemovalPolicy.RETAIN if self.retain else RemovalPolicy.DESTROY


class Layer(Stack):
    """A stack of one layer, bound to one account and region yet synthesized without asking either for anything."""

    def __init__(self, scope: Construct, construct_id: str, deployment: Deployment, description: str) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=f"{deployment.prefix}-{construct_id}",
            description=description,
            env=Environment(account=deployment.account, region=deployment.region),
            termination_protection=deployment.retain,
        )
        self.deployment = deployment

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the settings or of the region: `ec2.Vpc` would otherwise look them up with credentials."""
        return list(self.deployment.availability_zones) or [Fn.select(index, Fn.get_azs()) for index in range(3)]
