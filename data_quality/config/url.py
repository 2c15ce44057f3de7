"""Configuration of URL deduplication."""

from typing import Annotated

from pydantic import AfterValidator, Field

from data_quality.config.base import StrictModel
from data_quality.config.dedupe import KeepConfig, by_text_and_source


class UrlFormConfig(StrictModel):
    """Which address a document has, and its normal form; a change reads every document again."""

    field: str = Field(default="url", min_length=1, description="The metadata field that holds a document's URL.")
    tracking_parameters: tuple[str, ...] = Field(
        default=(
            "utm_*",
            "fbclid",
            "gclid",
            "dclid",
            "gbraid",
            "wbraid",
            "msclkid",
            "yclid",
            "twclid",
            "ttclid",
            "igshid",
            "mc_cid",
            "mc_eid",
            "_ga",
            "_gl",
            "_hsenc",
            "_hsmi",
            "mkt_tok",
            "spm",
            "scm",
        ),
        description="Query parameters that say where a visitor came from and not what the page is: left out of the "
        "normalised URL. A * at the end stands for any ending; upper and lower case are the same.",
    )


class UrlDedupeConfig(StrictModel):
    """Removal of documents that were fetched from one address."""

    enabled: bool = Field(default=False, description="Whether documents with the same normalised URL are removed.")
    form: UrlFormConfig = Field(default=UrlFormConfig(), description="What an address is.")
    keep: Annotated[KeepConfig, AfterValidator(by_text_and_source)] = Field(
        default=KeepConfig(), description="Which document of an address stays."
    )
