"""The files of a lab: slurm.conf and its neighbours from templates, munge's key, fake GPUs, names in /etc/hosts."""

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from slurm.lab.daemons import LabError, user

if TYPE_CHECKING:
    from slurm.lab.cluster import Lab

HOSTS = Path("/etc/hosts")
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
SETTINGS = "lab.json"
LONGEST = 70  # characters of a lab's folder: sockets below it must fit into the 107 that the kernel allows


def check_folder(folder: Path) -> None:
    """Raises LabError when a lab cannot live there, or would live among somebody's files."""
    if len(str(folder)) > LONGEST:
        raise LabError(f"{folder}: too long for sockets in it (over {LONGEST} characters): choose another --folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SETTINGS).exists():
        raise LabError(f"{folder} is not empty and holds no lab: choose another --folder")


def write(lab: "Lab") -> None:
    """All files and folders that the daemons need."""
    folder = lab.folder
    for name in ("etc", "run", "log", "state", "dev", "munge", *(f"state/{name}" for name in lab.names)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(asdict(lab) | {"folder": str(folder)}))
    (folder / "munge").chmod(0o700)
    (folder / "run").chmod(0o755)
    key = folder / "munge" / "munge.key"
    if not key.exists():
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
    for number in range(lab.gpus):  # SLURM wants a character device, and its number at the end of its name
        link = folder / "dev" / f"gpu{number}"
        if not link.is_symlink():
            link.symlink_to("/dev/null")
    _name_nodes(lab.names)
    _render(lab)


def offer(conf: Path) -> None:
    """Make it the machine's default where there is none, for clients without SLURM_CONF."""
    if os.access(DEFAULT_CONF.parent, os.W_OK) and not DEFAULT_CONF.exists():  # a link to a lab that is gone is none
        DEFAULT_CONF.unlink(missing_ok=True)
        DEFAULT_CONF.symlink_to(conf)


def withdraw(conf: Path) -> None:
    """Undo `offer`."""
    if DEFAULT_CONF.is_symlink() and DEFAULT_CONF.readlink() == conf:
        DEFAULT_CONF.unlink()


def _render(lab: "Lab") -> None:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    values = {"lab": lab, "host": socket.gethostname().partition(".")[0], "user": user()}
    for name in ("slurm.conf", "slurmdbd.conf"):
        (lab.folder / "etc" / name).write_text(templates.get_template(f"{name}.j2").render(values))
    (lab.folder / "etc" / "slurmdbd.conf").chmod(0o600)
    files = f"{lab.folder}/dev/gpu[0-{lab.gpus - 1}]"
    devices = f"NodeName=node[1-{lab.nodes}] Name=gpu Type={lab.gpu_type} File={files}\n"
    (lab.folder / "etc" / "gres.conf").write_text(devices if lab.gpus else "")


def _name_nodes(names: tuple[str, ...]) -> None:
    """Nodes' names must resolve: submitit's MASTER_ADDR is one. Labs share them, so they stay when a lab goes."""
    lines = (line.partition("#")[0].split() for line in HOSTS.read_text().splitlines())
    known = {name for words in lines for name in words[1:]}
    missing = "".join(f"127.0.0.1 {name}\n" for name in names if name not in known)
    if not missing:
        return
    try:
        with HOSTS.open("a") as file:
            file.write(missing)
    except OSError as error:
        raise LabError(f"{HOSTS} lacks these lines, and only root can add them:\n{missing}") from error
