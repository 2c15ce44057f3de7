"""Passwords: from a file that nobody else can read, or from the environment, and only to those who need them."""

import os
from pathlib import Path

import pytest

from tasks.machine import credentials, home


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*credentials._NEEDED, credentials.PREFECT_SERVER, "TEXTMILL_SECRETS", "TEXTMILL_MANAGED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path / "services" / "secrets.env"


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def test_what_is_missing_is_made_up_once_and_nobody_else_can_read_it(file: Path) -> None:
    made = credentials.complete(file)
    assert made == sorted(credentials._NEEDED)
    assert file.stat().st_mode & 0o777 == 0o600
    found = credentials.read(file)
    assert len(set(found.values())) == len(found)
    assert credentials.complete(file) == []
    assert credentials.read(file) == found
    assert list(file.parent.iterdir()) == [file]


def test_what_the_environment_says_is_not_written_down(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.PREFECT_SERVER, "me:mine")
    monkeypatch.setenv(credentials.POSTGRES, "given")
    assert set(credentials.complete(file)) == set(credentials._NEEDED) - {credentials.PREFECT, credentials.POSTGRES}
    servers = credentials.for_servers(file)
    assert servers[credentials.PREFECT] == servers[credentials.PREFECT_SERVER] == "me:mine"
    assert servers[credentials.POSTGRES] == "given"
    assert "given" not in file.read_text()


def test_an_empty_variable_does_not_have_a_password_made_up_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.complete(file)
    found = credentials.read(file)
    monkeypatch.setenv(credentials.POSTGRES, "")
    assert credentials.complete(file) == []
    assert credentials.read(file) == found
    assert credentials.for_servers(file)[credentials.POSTGRES] == found[credentials.POSTGRES]


def test_a_file_that_is_no_text_or_not_ours_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, "")
    file.write_bytes(b"A=\xff\n")
    with pytest.raises(credentials.CredentialsError, match=r"secrets\.env is not UTF-8 text$"):
        credentials.read(file)

    def closed(self: Path, **how: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", closed)  # root may open all, so that the mode does not do it
    with pytest.raises(credentials.CredentialsError, match=r"secrets\.env is not yours to read"):
        credentials.read(file)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("A=1\n", 0o640, r"can be read by others: chmod 600 .*secrets\.env"),
        ("A=1\n", 0o604, r"can be read by others"),
        ("# said\n\nA=1\nsecret-of-mine\n", 0o600, r"secrets\.env, line 4: not of the form NAME=value"),
        ("a lower=1\n", 0o600, r"line 1: not of the form"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_never_what_it_holds(
    file: Path, text: str, mode: int, message: str
) -> None:
    write(file, text, mode)
    with pytest.raises(credentials.CredentialsError, match=message) as caught:
        home.configure_environment()
    assert "secret-of-mine" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, "A=1\n")
    os.chown(file, 1234, 1234)
    with pytest.raises(credentials.CredentialsError, match="belongs to another user"):
        credentials.read(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no PREFECT_API_AUTH_STRING, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, "),
        ("PREFECT_API_AUTH_STRING=onlypassword\n", "PREFECT_API_AUTH_STRING must be of the form user:password"),
        ("MLFLOW_TRACKING_PASSWORD=short\n", "MLFLOW_TRACKING_PASSWORD has less than 12 characters"),
    ],
)
def test_servers_do_not_start_with_bad_passwords(file: Path, text: str, message: str) -> None:
    write(file, text)
    if text:
        credentials.complete(file)
    with pytest.raises(credentials.CredentialsError, match=message) as caught:
        credentials.for_servers(file)
    assert "short" not in str(caught.value).replace("shorter", "")
    assert "onlypassword" not in str(caught.value)


def test_clients_get_what_they_need_and_no_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.complete(file)
    for name in credentials._NEEDED:
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what is set below
        monkeypatch.delenv(name)
    home.configure_environment()
    known = credentials.read(file)
    for name in (credentials.PREFECT, credentials.MLFLOW_USER, credentials.MLFLOW_PASSWORD):
        assert os.environ[name] == known[name]
        assert home.is_managed(name)
    assert not {credentials.POSTGRES, credentials.MLFLOW_KEY, credentials.PREFECT_SERVER} & set(os.environ)


def test_another_home_takes_its_passwords_away(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (credentials.PREFECT, credentials.MLFLOW_PASSWORD):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    write(file, f"{credentials.PREFECT}=a:b\n")
    home.configure_environment()
    assert os.environ[credentials.PREFECT] == "a:b"
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "other"))
    home.configure_environment()
    assert credentials.PREFECT not in os.environ
    monkeypatch.setenv(credentials.PREFECT, "my:own")
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    home.configure_environment()
    assert os.environ[credentials.PREFECT] == "my:own"


def test_a_named_file_that_is_not_there_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_SECRETS", str(file))
    with pytest.raises(credentials.CredentialsError, match=r"TEXTMILL_SECRETS=.*secrets\.env: no such file"):
        home.configure_environment()
