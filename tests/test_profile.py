"""Profiles: found, shadowed, checked key by key; data roots in their order; mistakes a person makes."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slurm import cli, profile
from slurm.profile import Profile, ProfileError

SLURM = 'executor = "slurm"\n'


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of profiles, empty, and no variable of this shell."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("PYCONV_PROFILE", *(f"PYCONV_DATA_{name.upper()}" for name in profile.DATA_SETS)):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "pyconv" / "profiles"
    folder.mkdir(parents=True)
    return folder


def written(folder: Path, text: str, name: str = "lab") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_shipped_one_is_the_default() -> None:
    local = profile.load()
    assert (local.name, local.jobs, local.threads) == ("local", None, 1)
    assert local.submitit["timeout_min"] > 60 * 24  # submitit's own local default is two minutes


def test_name_then_variable_then_local(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(own_folder, "", "one")
    written(own_folder, "", "two")
    monkeypatch.setenv("PYCONV_PROFILE", "one")
    assert profile.load().name == "one"
    assert profile.load("two").name == "two"
    assert profile.load(str(own_folder / "two.toml")).path == own_folder / "two.toml"


def test_the_users_file_shadows_ours(own_folder: Path) -> None:
    written(own_folder, "[limits]\njobs = 3", "local")
    assert profile.load("local").jobs == 3


def test_all_keys(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    text = 'description = "ours"\nruns = "$SCRATCH/runs"\n[submitit]\ntimeout_min = 10\n'
    text += '[data]\nimagenet = "/data/imagenet"\nade20k = "beside"\n'
    text += "[limits]\njobs = 2\nthreads = 4\nworkers = 8\nmicro_batch = 64\n"
    read = profile.read(written(own_folder, text))
    assert (read.description, read.runs, read.jobs, read.threads) == ("ours", Path("/scratch/me/runs"), 2, 4)
    assert (read.workers, read.micro_batch) == (8, 64)
    assert read.submitit == {"timeout_min": 10}
    assert read.data == {"imagenet": Path("/data/imagenet"), "ade20k": own_folder / "beside"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[submitit", "not valid TOML"),
        ("timeout_min = 3", "unknown key 'timeout_min'; valid: description, executor, runs, hosts, submitit, test"),
        ("[limit]\njobs = 3", "unknown key 'limit' \\(did you mean 'limits'\\?\\)"),
        ("[limits]\njob = 3", "unknown key 'limits.job' \\(did you mean 'jobs'\\?\\)"),
        ('[data]\nimagnet = "/x"', "did you mean 'imagenet'"),
        ("[limits]\njobs = 0", "limits.jobs must be a positive integer, got 0"),
        ("[limits]\njobs = true", "limits.jobs must be a positive integer, got True"),
        ('[limits]\nthreads = "2"', "limits.threads must be a positive integer, got '2'"),
        ("[data]\nimagenet = 1", "data.imagenet must be text"),
        ('data = "/x"', "data must be a section"),
        ('runs = "$NOT_SET_ANYWHERE/runs"', "names an environment variable that is not set"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_and_key(own_folder: Path, text: str, message: str) -> None:
    path = written(own_folder, text)
    with pytest.raises(ProfileError, match=message) as caught:
        profile.read(path)
    assert str(path) in str(caught.value)


def test_a_misspelt_name_gets_the_nearest(own_folder: Path) -> None:
    written(own_folder, "", "cluster")
    with pytest.raises(ProfileError, match=r"did you mean 'cluster'.*valid: example, lab, local, cluster"):
        profile.load("clutser")
    with pytest.raises(ProfileError, match=r"absent\.toml does not exist"):
        profile.load("absent.toml")


def test_data_roots_option_before_variable_before_profile(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = profile.read(written(own_folder, '[data]\nimagenet = "/a"\nade20k = "/a"\ncoco = "/a"'))
    monkeypatch.setenv("PYCONV_DATA_ADE20K", "/b")
    monkeypatch.setenv("PYCONV_DATA_COCO", "/b")
    roots = profile.data_roots(read, {"coco": Path("/c")})
    assert roots == {"imagenet": Path("/a"), "ade20k": Path("/b"), "coco": Path("/c")}


def test_every_key_of_a_cluster(own_folder: Path) -> None:
    text = (
        SLURM + 'hosts = ["login*"]\n[submitit]\ntimeout_min = 600\nnodes = 2\ngpus_per_node = 8\ntasks_per_node = 8\n'
    )
    text += 'slurm_partition = "gpu"\n[test]\nnodes = 1\ngpus_per_node = 1\ntasks_per_node = 1\n'
    text += '[setup]\nmodules = ["cuda/12"]\nlines = ["source /x"]\npython = "python3"\ncontainer = "run i.sif"\n'
    text += "[limits]\ntime_min = 600\ngpus = 64\narray = 500\nask_gpu_hours = 10\n"
    text += '[gpu]\nrequest = "gres"\ntype = "h100"\nprice_per_hour = 2.5\ngmacs = 9000\n'
    read = profile.read(written(own_folder, text))
    assert (read.executor, read.hosts, read.time_min, read.gpus, read.array) == ("slurm", ("login*",), 600, 64, 500)
    assert read.setup == ("module load cuda/12", "source /x")
    assert read.python == "run i.sif python3"
    assert (read.ask_gpu_hours, read.price_per_gpu_hour, read.gpu_gmacs) == (10, 2.5, 9000)
    assert (read.gpus_of("train"), read.ranks_of("train")) == (16, 16)
    assert (read.gpus_of("test"), read.ranks_of("test")) == (1, 1)
    assert read.keywords("test")["timeout_min"] == 600
    assert read.keywords("train")["slurm_partition"] == "gpu"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('executor = "slrum"', "executor must be one of local, slurm, got 'slrum'"),
        ("hosts = 'login'", "hosts must be a list of texts"),
        ("[submitit]\nslurm_partition = 'gpu'", 'is for SLURM only: write executor = "slurm"'),
        ("[submitit]\nnodes = 2", "submitit.nodes must be 1"),
        (SLURM + "[submitit]\nslurm_partitoin = 'gpu'", r"did you mean 'slurm_partition'.*valid: .*slurm_qos"),
        (SLURM + "[submitit]\ntime_out = 3", "did you mean 'timeout_min'"),
        (SLURM + "[submitit]\nslurm_time = 3", "write timeout_min"),
        (SLURM + "[submitit]\nslurm_ntasks_per_node = 3", "write tasks_per_node"),
        (SLURM + "[submitit]\nname = 'x'", "submitit.name cannot be set: pyconv decides it"),
        (SLURM + "[submitit]\nslurm_dependency = 'afterok:1'", "cannot be set"),
        (SLURM + "[submitit]\nslurm_use_srun = false", "cannot be set"),
        (SLURM + "[submitit]\ntimeout_min = '60'", "submitit.timeout_min must be a positive integer, got '60'"),
        (SLURM + "[submitit]\nmem_gb = 0", "submitit.mem_gb must be a positive number, got 0"),
        (SLURM + "[submitit]\nslurm_setup = 'x'", "submitit.slurm_setup must be a list of texts"),
        (SLURM + "[test]\ngpus_per_node = -1", "test.gpus_per_node must be an integer from 0 up, got -1"),
        (SLURM + "[submitit]\nslurm_gres = 'gpu:8'", "slurm_gres: write gpus_per_node"),
        (
            SLURM + "[submitit]\nslurm_additional_parameters = { gpus-per-node = 8 }",
            "slurm_additional_parameters.gpus-per-node: write gpus_per_node",
        ),
        (SLURM + "[submitit]\nslurm_gpus_per_task = 1\ngpus_per_node = 8", "does not go with gpus_per_node"),
        (
            SLURM + "[submitit]\ntimeout_min = 61\n[limits]\ntime_min = 60",
            "timeout_min = 61 is above limits.time_min = 60",
        ),
        (SLURM + "[test]\ntimeout_min = 61\n[limits]\ntime_min = 60", "test.timeout_min = 61 is above"),
        (SLURM + "[submitit]\ntimeout_min = 1", "the signal to save comes 90 s before the end"),
        (SLURM + "[submitit]\ngpus_per_node = 8\n[limits]\ngpus = 4", "asks for 8 GPUs a job, limits.gpus = 4"),
        ("[setup]\ncontainer = 'apptainer exec x.sif'", "setup.container needs setup.python"),
        ("[setup]\nmodules = 'cuda'", "setup.modules must be a list of texts"),
        ('[gpu]\nrequest = "gpu"', "gpu.request must be one of gpus-per-node, gres, got 'gpu'"),
        ("[gpu]\nprice_hour = 3", "unknown key 'gpu.price_hour' \\(did you mean 'price_per_hour'\\?\\)"),
        ("[gpu]\ngmacs = inf", "gpu.gmacs must be a positive number, got inf"),
        ("[limits]\narray = 0", "limits.array must be a positive integer"),
    ],
)
def test_a_mistake_about_a_cluster_is_refused_in_words(own_folder: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        profile.read(written(own_folder, text))


def cluster(**changes: object) -> Profile:
    words = {"timeout_min": 60, "gpus_per_node": 8, "tasks_per_node": 8}
    return Profile("c", Path("c.toml"), executor="slurm", submitit=words, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("style", "kind", "wanted"),
    [
        ("gpus-per-node", None, {"gpus_per_node": 8}),
        ("gpus-per-node", "h100", {"slurm_additional_parameters": {"gpus-per-node": "h100:8"}}),
        ("gres", None, {"slurm_gres": "gpu:8"}),
        ("gres", "h100", {"slurm_gres": "gpu:h100:8"}),
    ],
)
def test_gpus_are_asked_for_once_in_the_clusters_style(style: str, kind: str | None, wanted: dict[str, object]) -> None:
    words = cluster(gpu_request=style, gpu_type=kind).keywords("train")
    asked = {"gpus_per_node", "slurm_gres", "slurm_additional_parameters"} & set(words)
    assert {key: words[key] for key in asked} == wanted


@given(limit=st.integers(8, 200), own=st.none() | st.integers(1, 50), nodes=st.integers(1, 4))
def test_arrays_never_hold_more_gpus_than_the_limit_but_one_job(limit: int, own: int | None, nodes: int) -> None:
    more = {"nodes": nodes} | ({} if own is None else {"slurm_array_parallelism": own})
    place = cluster(gpus=limit)
    at_once = Profile("c", place.path, submitit={**place.submitit, **more}, gpus=limit).keywords("train")[
        "slurm_array_parallelism"
    ]
    assert at_once >= 1
    assert own is None or at_once <= own
    assert at_once == 1 or at_once * 8 * nodes <= limit
    assert own is not None or (at_once + 1) * 8 * nodes > limit


def test_what_always_stands_in_the_keywords() -> None:
    bare = Profile("bare", Path("bare.toml"))
    assert {"nodes": 1, "tasks_per_node": 1}.items() <= bare.keywords("train").items()
    assert bare.keywords("train")["timeout_min"] > 0
    assert (bare.gpus_of("train"), bare.ranks_of("train")) == (0, 1)


def on_host(monkeypatch: pytest.MonkeyPatch, name: str, full: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(socket, "getfqdn", lambda: full)


def test_the_host_chooses_before_local_and_after_the_variable(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(own_folder, 'hosts = ["login*.site.org"]', "site")
    written(own_folder, "", "other")
    on_host(monkeypatch, "login3", "LOGIN3.site.org")
    assert profile.load().name == "site"
    monkeypatch.setenv("PYCONV_PROFILE", "other")
    assert profile.load().name == "other"
    assert profile.load("local").name == "local"
    monkeypatch.delenv("PYCONV_PROFILE")
    on_host(monkeypatch, "laptop", "laptop.home")
    assert profile.load().name == "local"


def test_two_profiles_for_one_host_are_an_error_that_names_both(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(own_folder, 'hosts = ["login*"]', "one")
    written(own_folder, 'hosts = ["*3"]', "two")
    on_host(monkeypatch, "login3", "login3")
    with pytest.raises(ProfileError, match=r"login3.*one .*two .*--profile"):
        profile.load()


def test_a_verb_without_a_profile_takes_the_hosts(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(own_folder, SLURM + 'hosts = ["login*"]\n[limits]\njob = 3', "site")
    on_host(monkeypatch, "login3", "login3")
    result = CliRunner().invoke(cli.cli, ["plan", "table2/final"])
    assert result.exit_code == 2
    assert "did you mean 'jobs'" in " ".join(result.stderr.split())


@pytest.mark.parametrize("path", sorted(profile.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_profile_can_be_read_and_submitit_takes_its_keywords(path: Path) -> None:
    from submitit import AutoExecutor, SlurmExecutor

    read = profile.read(path)
    valid = {f"slurm_{name}" for name in SlurmExecutor._valid_parameters()} | AutoExecutor._valid_parameters()
    assert set(read.keywords("train")) | set(read.keywords("test")) <= valid


def test_the_template_says_every_key_there_is() -> None:
    text = (profile.SHIPPED / "example.toml").read_text()
    has: Callable[[str], bool] = lambda key: f"\n{key} = " in text or f"\n# {key} = " in text  # noqa: E731
    sections = profile._SECTIONS
    keys = [key for name in ("setup", "limits", "gpu") for key in sections[name]] + list(profile._TOP)
    assert [key for key in keys if not has(key) and key != "jobs"] == []  # jobs: of runs on this machine only
