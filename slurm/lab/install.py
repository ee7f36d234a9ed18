"""The Debian packages of the lab: installed without letting them start services of their own."""

import os
import shutil

from slurm.lab.daemons import LabError, run

COMMANDS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "setsid": "util-linux",
}
ACCOUNTING = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server"}
PLACES = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # not on everybody's PATH
# The packages would start daemons of their own: policy-rc.d is how Debian is told not to.
_SCRIPT = """set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
apt-get update -qq
apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" > /dev/null
"""


def search_path() -> str:
    """PATH with the folders of the daemons."""
    return os.pathsep.join([os.environ.get("PATH", ""), *PLACES])


def missing(accounting: bool) -> list[str]:
    """The packages whose commands are not there."""
    wanted = COMMANDS | (ACCOUNTING if accounting else {})
    path = search_path()
    return list(dict.fromkeys(package for command, package in wanted.items() if not shutil.which(command, path=path)))


def install(accounting: bool) -> None:
    """Install what is missing. Raises LabError with the line to type where that is not allowed."""
    packages = missing(accounting)
    if not packages:
        return
    line = f"apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise LabError(
            f"the lab needs Debian's packages {', '.join(packages)} (SLURM, munge, MariaDB), and apt-get is not here"
        )
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if as_root and shutil.which("sudo") is None:
        raise LabError(f"packages are missing and only root can install them: {line}")
    try:
        _apt(as_root, packages)
    except LabError as error:
        raise LabError(f"{error}; as root: {line}") from error


def _apt(as_root: list[str], packages: list[str]) -> None:
    run([*as_root, "sh", "-c", _SCRIPT, "sh", *packages], timeout=1200)
