"""Who can read what: principals against data, from the templates of all stacks of an environment together.

`python -m checks.access FOLDER` prints the matrix; what is wrong whoever reads is in `findings`.
"""

from checks.access.findings import findings
from checks.access.matrix import matrices

__all__ = ["findings", "matrices"]
