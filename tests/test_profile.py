"""Profiles: found, shadowed, checked key by key; data roots in their order; mistakes a person makes."""

from pathlib import Path

import pytest

from slurm import profile
from slurm.profile import ProfileError


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
