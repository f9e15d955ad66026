"""The local cloud's command line: `python -m local start|deploy|status|destroy|stop`; MILLRACE_PORT sets its port."""

import argparse
import sys
from pathlib import Path

from local import deploy, tools
from local.cloud import Cloud


def status(cloud: Cloud) -> str:
    """One line on the cloud, then one a stack."""
    if not cloud.process():
        return f"not running ({cloud.state})"
    stacks = cloud.session().client("cloudformation").describe_stacks()["Stacks"]
    lines = [f"{stack['StackName']}: {stack['StackStatus']}" for stack in stacks]
    return "\n".join([f"running at {cloud.endpoint}, log {cloud.log}", *lines])


def main() -> int:
    """Run one command; the exit code is 1 when it failed or something is left over."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=["start", "deploy", "status", "destroy", "stop"])
    parser.add_argument("--state", type=Path, default=tools.ROOT / ".local")
    parser.add_argument("--stage", default="sandbox", help="the CDK stage to deploy")
    options = parser.parse_args()
    try:
        cloud = Cloud(options.state.resolve())
        match options.command:
            case "start":
                cloud.start()
                print(status(cloud))
            case "deploy":
                for line in deploy.deploy(cloud, options.stage):
                    print(line, flush=True)
            case "status":
                print(status(cloud))
            case "destroy":
                for line in deploy.destroy(cloud):
                    print(line, flush=True)
                left = deploy.leftovers(cloud)
                print("\n".join(["left over:", *left]) if left else "nothing is left")
                return bool(left)
            case "stop":
                cloud.stop()
    except tools.ToolError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
