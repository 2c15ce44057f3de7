"""Configuration of personal data: what is looked for, and what is put in its place."""

from typing import Literal

from pydantic import Field

from data_quality.config.base import StrictModel


class PiiConfig(StrictModel):
    """Personal data that leaves the text at every exit."""

    enabled: bool = Field(True, description="Whether personal data is looked for and replaced.")
    email: bool = Field(True, description="E-mail addresses.")
    phone: bool = Field(
        True, description="Telephone numbers: international, North American, European, Chinese land lines."
    )
    ip: bool = Field(True, description="IPv4 and IPv6 addresses.")
    public_ips_only: bool = Field(
        True, description="Leave private, reserved and documentation addresses (192.168.0.1, ::1) where they are."
    )
    credit_card: bool = Field(True, description="Card numbers with an issuer's prefix and a right Luhn digit.")
    iban: bool = Field(True, description="International bank account numbers with right check digits.")
    cn_id: bool = Field(
        True,
        description="Chinese resident identity numbers: 18 digits with a right check digit; the old 15 digits only "
        "behind a word such as 身份证.",
    )
    cn_mobile: bool = Field(True, description="Chinese mobile numbers, with or without +86.")
    us_ssn: bool = Field(True, description="US social security numbers in the form 123-45-6789.")
    ids: bool = Field(
        True,
        description="Replace such data in the ids of documents and the names of sources and files, too, by a hash: an "
        "id stays one. Ids are replaced as they are read, so that all tables have the same.",
    )
    style: Literal["tag", "placeholder", "hashed"] = Field(
        "tag",
        description="tag: `<email>`. placeholder: a value reserved for examples, such as `email@example.com`. hashed: "
        "`<email:0f3a...>`, equal for equal values, keyed with the environment variable TEXTMILL_PII_KEY.",
    )
