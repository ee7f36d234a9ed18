"""What sacct needs: slurmdbd, and a MariaDB of its own behind it."""

from slurm.lab.daemons import check_free, detached, pid, run, stop, user, wait
from slurm.lab.place import Place

ACCOUNT = "pyconv"  # of whoever brings the lab up
_SQL = """create user if not exists slurm@'127.0.0.1' identified by 'slurm';
grant all on slurm_acct_db.* to slurm@'127.0.0.1'"""


def start(place: Place, port: int, sql_port: int) -> None:
    """Both daemons, and the cluster with its account; what runs already stays."""
    if pid(place.run("mysqld.pid"), "mariadbd") is None:
        check_free("MariaDB", sql_port)
        _start_database(place, sql_port)
    if pid(place.run("slurmdbd.pid"), "slurmdbd") is None:
        check_free("slurmdbd", port)  # it listens on all addresses: SLURM has no option; it wants munge's credential
        place.daemon("slurmdbd")
        log = place.log("slurmdbd.log")
        wait(lambda: place.answers("sacctmgr", "-n", "list", "cluster"), 30, f"slurmdbd did not answer (see {log})")
        for what in (["cluster", "lab"], ["account", ACCOUNT], ["user", user(), f"account={ACCOUNT}"]):
            place.client("sacctmgr", "-i", "add", *what, refused="passed over")  # it may be there


def end(place: Place) -> None:
    """Stop both."""
    stop(place.run("slurmdbd.pid"), "slurmdbd")
    stop(place.run("mysqld.pid"), "mariadbd")


def _start_database(place: Place, port: int) -> None:
    who, data = f"--user={user()}", f"--datadir={place.folder / 'mysql'}"
    log, socket = place.log("mariadb.log"), f"--socket={place.run('mysql.sock')}"
    if not (place.folder / "mysql" / "mysql").is_dir():
        plain = ["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal"]
        place.daemon("mariadb-install-db", "--no-defaults", who, data, *plain, "--innodb-log-file-size=16M")
    options = [
        f"--pid-file={place.run('mysqld.pid')}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-log-file-size=16M",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",  # slurmdbd asks for it
        "--innodb-flush-log-at-trx-commit=0",  # fast: a lab's accounting need not survive a power cut
    ]
    command = ["mariadbd", "--no-defaults", who, data, socket, *options]
    detached(command, place.run("mariadbd.started"), log, place.environment())
    sql = ["mariadb", "--no-defaults", "-uroot", socket, "-e"]
    wait(lambda: place.answers(*sql, "select 1"), 30, f"MariaDB did not answer (see {log})")
    run([*sql, _SQL])
