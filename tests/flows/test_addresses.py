"""An address is shown without user and password, and what is no user stays."""

import pytest

from flows.config.addresses import shown, without_user

HIDDEN = [
    ("http://me:secret@host:4200/api", "http://host:4200/api"),
    ("s3://secret@bucket/store", "s3://bucket/store"),
    ("postgresql://me:secret@word@db:5432", "postgresql://db:5432"),
    ("postgresql://me:secret/of?mine#too@db:5432", "postgresql://db:5432"),
    ("s3://KEY:1secret/2@bucket/store", "s3://bucket/store"),
    ("{'url': 'mysql://me:secret@db', 'data': None}", "{'url': 'mysql://db', 'data': None}"),
]
KEPT = [
    "http://127.0.0.1:4200/api",
    "http://[::1]:4200/api",
    "s3://bucket/team@home/store",
    "http://host:4200/people/a@b",
    "sqlite:////home/a@b/mlflow.db",
    "write to me@example.org",
    "",
]


@pytest.mark.parametrize(("address", "rest"), HIDDEN)
def test_user_and_password_are_left_out(address: str, rest: str) -> None:
    assert without_user(address) == rest
    assert "secret" not in without_user(address, "...@")


@pytest.mark.parametrize("address", KEPT)
def test_what_is_no_user_stays(address: str) -> None:
    assert without_user(address) == address


@pytest.mark.parametrize(
    ("address", "rest"),
    [
        ("http://me:my secret@host:4200/api", "http://host:4200/api"),
        ("//user:secret@bucket/store", "//bucket/store"),
        ("s3://us er:secret@bucket", "s3://bucket"),
        ("s3://KEY:1secret/2@bucket/store", "s3://bucket/store"),
        ("http://[secret@host", "http://host"),
    ],
)
def test_of_one_address_nothing_before_the_host_is_shown(address: str, rest: str) -> None:
    assert shown(address) == rest


@pytest.mark.parametrize("address", [*KEPT, "http://[::1", "file:///a@b"])
def test_one_address_without_a_user_stays(address: str) -> None:
    assert shown(address) == address
